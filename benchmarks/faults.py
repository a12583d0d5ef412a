"""A storm of SIGKILLs: at least 100 of them while clients upload, submit, watch, cancel and predict."""

import tempfile
import time
from pathlib import Path

from tests.running_server import RunningServer
from tests.storm import SETTINGS, Storm

KILLS = 110


def run() -> None:
    """Let the storm rage, check what is left, and say what happened."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, RunningServer(Path(folder) / "data", **SETTINGS) as server:
        storm = Storm(server, seed=int(began))
        storm.run(KILLS)
        print(storm.check())
    print(f"in {time.monotonic() - began:.0f} s")
