"""What the tests of the jobs build theirs with."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import update

from app.database import Database, DatabaseTime
from app.identifiers import new_id
from app.job_status import Status
from app.jobs import history
from app.jobs.bell import Bell
from app.jobs.history import Measurement
from app.jobs.order import Order
from app.jobs.queue import Claim, Queue
from app.jobs.roster import Roster
from app.tables import DatasetRow, JobRow

LEASE_SECONDS = 15.0
ATTEMPTS = 3

Submit = Callable[..., JobRow]
Running = Callable[..., Claim]


@pytest.fixture
def roster(database: Database) -> Roster:
    return Roster(database, LEASE_SECONDS)


@pytest.fixture
def queue(database: Database, roster: Roster) -> Queue:
    return Queue(database, roster, LEASE_SECONDS, ATTEMPTS, 1000)


@pytest.fixture
def ringer() -> Iterator[Bell]:
    """Another bell, which rings the first one."""
    made = Bell()
    yield made
    made.close()


@pytest.fixture
def dataset_id(database: Database) -> str:
    """A dataset that jobs can name."""
    row = DatasetRow(
        id=new_id(), rows=1, bytes=1, sha256="", columns=[], splits={"train": 1, "test": 0}, created_at=DatabaseTime()
    )
    with database.write() as session:
        session.add(row)
    return row.id


@pytest.fixture
def submit(queue: Queue, dataset_id: str) -> Submit:
    """Put a job on the queue."""

    def make(**order: Any) -> JobRow:
        about = {"spec": {}, "model": "linear", "dataset_id": dataset_id, "validation_dataset_id": None}
        return queue.submit(Order(**{**about, "epochs": 3, "requested_device": "auto", **order}))[0]

    return make


@pytest.fixture
def running(queue: Queue, submit: Submit) -> Running:
    """Put a job on the empty queue and claim it."""

    def make(worker_id: str = "w", **order: Any) -> Claim:
        job_id = submit(**order).id
        job = queue.claim(worker_id, ["cpu"])
        assert job is not None
        assert job.id == job_id
        return Claim(job.id, worker_id, job.attempt)

    return make


def put(database: Database, job_id: str, **columns: Any) -> None:
    """Change a job behind the queue's back."""
    with database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values(**columns))


def lapse(database: Database, job_id: str) -> None:
    """Let a job's lease run out."""
    put(database, job_id, lease_until=DatabaseTime(-0.01))


def finish(database: Database, queue: Queue, claim: Claim, status: Status, **values: Any) -> None:
    """End a job, in a transaction of its own."""
    with database.write() as session:
        queue.finish(session, claim, status, **values)


def measured(epoch: int, **values: Any) -> Measurement:
    """One line of a loss history."""
    return Measurement(epoch, 1 / epoch, None, None, None, 0.1, 0.01)._replace(**values)


def record(database: Database, queue: Queue, claim: Claim, epochs: list[Measurement], **progress: Any) -> None:
    """Add to a job's history, in a transaction of its own."""
    with database.write() as session:
        history.record(session, queue, claim, epochs, **progress)


def columns(job: JobRow) -> dict[str, Any]:
    """Everything that a job's row holds."""
    return {column.name: getattr(job, column.name) for column in JobRow.__table__.columns}
