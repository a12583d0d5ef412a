"""A storm: at least 100 SIGKILLs, and workers held up beyond their leases, while clients go about their work."""

import tempfile
import time
from pathlib import Path

from tests.running_server import RunningServer
from tests.storm import SETTINGS, Storm

KILLS = 110
FREEZES = 30


def run() -> None:
    """Let the storm rage, check what is left, and say what happened."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, RunningServer(Path(folder) / "data", **SETTINGS) as server:
        storm = Storm(server, seed=int(began))
        storm.run(KILLS, FREEZES)
        print(storm.check())
    print(f"in {time.monotonic() - began:.0f} s")
