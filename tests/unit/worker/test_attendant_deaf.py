"""The attendant: it ends what cannot hear, and waits while the disk is full."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app import grace
from app.database import Database
from app.datasets.catalogue import Catalogue
from app.datasets.ingest import Choices
from app.datasets.synthetic import SyntheticLinear
from app.jobs.order import Order
from app.jobs.queue import Queue
from app.jobs.roster import Roster
from app.jobs.spec import Spec
from app.jobs.submission import order
from app.migrate import migrate
from app.models.registry import Registry
from app.settings import Settings
from app.storage import Storage
from app.worker.attendant import TICK_SECONDS
from tests.patience import until

PATIENCE_SECONDS = 60

STUCK = """
import os, time
import numpy as np
import app.worker.execution as execution
from tests.unit.worker.test_execution import epoch

def fit(*_, **__):
    yield epoch(1)
    time.sleep(3600)

execution.fit = fit
from app.settings import Settings
from app.worker.loop import Worker
os._exit(Worker(Settings(), os.getppid()).run())
"""
DEAF = """
import os, time
import app.worker.execution as execution
execution.prepare = lambda *_: time.sleep(3600)
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
    """A worker that is encoding the data of a job, and will be for longer than anyone waits."""
    job, _ = queue.submit(Order({}, "linear", None, None, 3, "cpu"))
    return working(tmp_path, DEAF, lambda: queue.get(job.id).status == "running"), job.id


def working(tmp_path: Path, program: str, is_there: Callable[[], bool]) -> "subprocess.Popen[bytes]":
    """A worker that has come to a point."""
    environment = {**os.environ, "ONELAYER_DATA_DIR": str(tmp_path), "ONELAYER_WORKERS": "1"}
    worker = subprocess.Popen([sys.executable, "-c", program], env=environment)
    until(is_there)
    return worker


def test_a_job_is_cancelled_while_its_data_is_encoded(tmp_path: Path, queue: Queue) -> None:
    worker, job_id = encoding(tmp_path, queue)
    queue.cancel(job_id)
    assert worker.wait(PATIENCE_SECONDS) == 75
    job = queue.get(job_id)
    assert job.status == "cancelled"
    assert job.finished_at is not None
    assert job.started_at is not None


def test_a_worker_that_is_stopped_while_it_encodes_hands_its_job_back(tmp_path: Path, queue: Queue) -> None:
    worker, job_id = encoding(tmp_path, queue)
    worker.terminate()
    assert worker.wait(PATIENCE_SECONDS) == 0
    job = queue.get(job_id)
    assert (job.status, job.attempt) == ("queued", 1)


def test_a_worker_that_is_stopped_in_a_long_step_hands_its_job_back_before_it_is_killed(
    tmp_path: Path, queue: Queue
) -> None:
    database, storage = queue._database, Storage(tmp_path)
    catalogue = Catalogue(database, storage)
    catalogue.create(SyntheticLinear([2.0, -3.4], 4.2, rows=100).content(), Choices(), "line")
    spec = Spec.model_validate({"dataset": "line", "model": "linear", "epochs": 3})
    job, _ = queue.submit(order(spec, catalogue, {"cpu"}, Registry(database, storage)))
    worker = working(tmp_path, STUCK, lambda: queue.get(job.id).epoch == 1)

    worker.terminate()

    assert worker.wait(PATIENCE_SECONDS) == 0
    assert grace.TRAINING_SECONDS + 2 * TICK_SECONDS < grace.WORKERS_SECONDS
    found = queue.get(job.id)
    assert (found.status, found.attempt, found.epoch) == ("queued", 1, 1)
