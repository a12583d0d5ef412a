"""What the tests of the worker build theirs with: real services on one database, and an attendant of quick ticks."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database import Database, DatabaseTime
from app.datasets.catalogue import Catalogue
from app.datasets.ingest import Choices
from app.datasets.synthetic import SyntheticLinear
from app.job_status import Status
from app.jobs import history
from app.jobs.bell import Bell
from app.jobs.history import Measurement
from app.jobs.queue import Claim, Queue
from app.jobs.roster import Roster
from app.jobs.spec import Spec
from app.jobs.submission import order
from app.models.registry import Registry
from app.storage import Storage
from app.tables import JobRow, ProcessRow
from app.tally import Tally
from app.worker import attendant as module
from app.worker.attendant import Attendant
from app.worker.checkpoint import Checkpointer

LEASE_SECONDS = 15.0

Claimed = Callable[..., tuple[JobRow, Claim]]


@pytest.fixture
def roster(database: Database) -> Roster:
    return Roster(database, LEASE_SECONDS)


@pytest.fixture
def queue(database: Database, roster: Roster) -> Queue:
    return Queue(database, roster, LEASE_SECONDS, 3, 1000)


@pytest.fixture
def registry(database: Database, storage: Storage) -> Registry:
    return Registry(database, storage)


@pytest.fixture
def catalogue(database: Database, storage: Storage) -> Catalogue:
    made = Catalogue(database, storage)
    made.create(SyntheticLinear([2.0, -3.4], 4.2, rows=100).content(), Choices(), "line")
    return made


@pytest.fixture
def attendant(
    database: Database, storage: Storage, queue: Queue, roster: Roster, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> Attendant:
    """An attendant that is not started yet."""
    monkeypatch.setattr(module, "TICK_SECONDS", 0.01)
    return Attendant(
        database, queue, roster, bell, Checkpointer(storage, 3600.0), LEASE_SECONDS / 5, Tally(storage.root)
    )


@pytest.fixture
def cut_off(cut_off: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The same, and whoever lost its connection soon tries again."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    return cut_off


@pytest.fixture
def claimed(queue: Queue, catalogue: Catalogue, registry: Registry) -> Claimed:
    """Submit a job, by default on the line, and claim it."""

    def make(
        worker_id: str = "w", dataset: str = "line", model: str = "linear", **options: object
    ) -> tuple[JobRow, Claim]:
        spec = Spec.model_validate({"dataset": dataset, "model": model, "epochs": 3, **options})
        queue.submit(order(spec, catalogue, {"cpu"}, registry))
        job = queue.claim(worker_id, ["cpu"])
        assert job is not None
        return job, Claim(job.id, worker_id, job.attempt)

    return make


def measured(epoch: int) -> Measurement:
    return Measurement(epoch, 1 / epoch, None, None, None, 0.1, 0.01)


@pytest.fixture
def worker_id(roster: Roster, bell: Bell) -> str:
    return roster.sign_in("worker", bell.port, ["cpu"])


@pytest.fixture
def attending(attendant: Attendant, worker_id: str) -> Iterator[Attendant]:
    """An attendant at work."""
    attendant.start(worker_id, lambda: False)
    yield attendant
    attendant.end()


@pytest.fixture
def hasty(attendant: Attendant, attending: Attendant) -> Attendant:
    """An attendant at work that renews whenever it has nothing to write."""
    attendant._renew_seconds = 0.0
    return attending


def epochs(database: Database, job_id: str) -> list[int]:
    return [row.epoch for row in history.read(database, job_id, 0, 10_000)]


def silence(database: Database, process_id: str) -> None:
    """Let a process have been silent for longer than a lease."""
    with database.write() as session:
        silent = update(ProcessRow).where(ProcessRow.id == process_id)
        session.execute(silent.values(seen_at=DatabaseTime(-LEASE_SECONDS - 1)))


def lapse(database: Database, job_id: str) -> None:
    with database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values(lease_until=DatabaseTime(-0.01)))


def is_held(database: Database, job_id: str) -> bool:
    with database.read() as session:
        held = select(JobRow.id).where(JobRow.id == job_id, JobRow.lease_until > DatabaseTime(LEASE_SECONDS - 2))
        return session.scalar(held) is not None


def keep(queue: Queue, claim: Claim) -> Callable[[Session, list[Measurement], float], None]:
    """What a worker writes last."""

    def write(session: Session, rest: list[Measurement], samples_per_second: float) -> None:
        history.record(session, queue, claim, rest, samples_per_second=samples_per_second)
        queue.finish(session, claim, Status.SUCCEEDED)

    return write
