"""The attendant: it ends what cannot hear, and waits while the disk is full."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.database import Database
from app.jobs.order import Order
from app.jobs.queue import Queue
from app.jobs.roster import Roster
from app.migrate import migrate
from app.settings import Settings

DEAF = """
import os, time
import app.worker.execution as execution
execution.prepare = lambda *_: time.sleep(60)
execution.Spec.model_validate = lambda *_: None
from app.settings import Settings
from app.worker.loop import Worker
os._exit(Worker(Settings(), os.getppid()).run())
"""


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    settings = Settings(data_dir=tmp_path)
    database = Database(settings.resolved_database_url)
    migrate(database)
    yield Queue(database, Roster(database, 15), 15, 3, 10)
    database.dispose()


def encoding(tmp_path: Path, queue: Queue) -> tuple["subprocess.Popen[bytes]", str]:
    """A worker that is encoding the data of a job, and will be for a minute."""
    job, _ = queue.submit(Order({}, "linear", None, None, 3, "cpu"))
    environment = {**os.environ, "ONELAYER_DATA_DIR": str(tmp_path), "ONELAYER_WORKERS": "1"}
    worker = subprocess.Popen([sys.executable, "-c", DEAF], env=environment)
    deadline = time.monotonic() + 60
    while queue.get(job.id).status != "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return worker, job.id


def test_a_job_is_cancelled_within_a_second_while_its_data_is_encoded(tmp_path: Path, queue: Queue) -> None:
    worker, job_id = encoding(tmp_path, queue)
    queue.cancel(job_id)
    assert worker.wait(5) == 75
    job = queue.get(job_id)
    assert job.status == "cancelled"
    assert job.finished_at is not None
    assert job.started_at is not None


def test_a_worker_that_is_stopped_while_it_encodes_hands_its_job_back(tmp_path: Path, queue: Queue) -> None:
    worker, job_id = encoding(tmp_path, queue)
    worker.terminate()
    assert worker.wait(5) == 0
    job = queue.get(job_id)
    assert (job.status, job.attempt) == ("queued", 1)
