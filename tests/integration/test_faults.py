"""Workers, their supervisor and the server are killed or held up at random moments, and nothing is lost."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running_server import RunningServer
from tests.storm import SETTINGS, SOURCE, SPECS, Storm, children

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the storm finds the processes in /proc")


def test_a_storm_of_kills_loses_nothing(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", **SETTINGS) as server:
        storm = Storm(server, seed=1)
        storm.run(kills=4, freezes=2, clients=2)
        storm.check()


def test_a_machine_that_sleeps_again_and_again_costs_no_job_an_attempt(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", workers=2, lease_seconds=2, attempts=1) as server:
        source = server.create_dataset(SOURCE)["id"]
        job = server.client.post("/jobs", json={**SPECS[0], "dataset": source, "epochs": 1_000_000}).json()["id"]
        for _ in range(2):
            time.sleep(0.2)
            with asleep(server):
                time.sleep(2.2)
        time.sleep(1)
        reply = server.client.post(f"/jobs/{job}/cancel")
        over = server.client.get(f"/jobs/{job}", headers={"Prefer": "wait=20"}).json()

    assert reply.status_code == 202, reply.text
    assert (over["status"], over["attempt"]) == ("cancelled", 1), over["error"]


@contextmanager
def asleep(server: RunningServer) -> Iterator[None]:
    """Hold up all of its processes."""
    assert server.process is not None
    supervisors = children(server.process.pid)
    processes = [server.process.pid, *supervisors, *(worker for own in supervisors for worker in children(own))]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
