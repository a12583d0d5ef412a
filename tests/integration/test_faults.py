"""Workers, their supervisor and the server are killed or held up at random moments, and nothing is lost."""

import sys
from pathlib import Path

import pytest

from tests.running_server import RunningServer
from tests.storm import SETTINGS, Storm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the storm finds the processes in /proc")


def test_a_storm_of_kills_loses_nothing(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", **SETTINGS) as server:
        storm = Storm(server, seed=1)
        storm.run(kills=4, freezes=2, clients=2)
        storm.check()
