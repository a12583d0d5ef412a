"""The loss history: one row an epoch, written in bulk by the worker, read by whoever watches."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import delete, func, insert, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from app.database import Database
from app.jobs.extremes import sampled
from app.jobs.queue import Claim, Queue, find
from app.tables import EpochRow, JobRow

_METRICS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


class Measurement(NamedTuple):
    """The columns of an `EpochRow` but its job. A tuple, because short epochs end by the ten thousand a second."""

    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    candidate: int = 0


LARGEST_EPOCH = 2**31 - 1
"""PostgreSQL compares the column with no larger number."""

STATEMENT_ROWS = 256
_ROW = f"({', '.join('?' * len(Measurement._fields))})"
_MANY_ROWS = (
    f"INSERT INTO {EpochRow.__tablename__} (job_id, {', '.join(Measurement._fields)}) "  # noqa: S608  names of our own
    f"SELECT ?, * FROM (VALUES {', '.join([_ROW] * STATEMENT_ROWS)})"
)


def record(session: Session, queue: Queue, claim: Claim, epochs: Sequence[Measurement], **progress: Any) -> JobRow:
    """Add epochs and the job's progress in the caller's transaction, if the job is still the worker's own.

    Those that are there already are left out: a commit may have been made whose answer was lost.
    """
    job_id = claim.job_id
    written = session.scalar(select(JobRow.epoch).where(JobRow.id == job_id).with_for_update()) or 0
    if epochs and epochs[0].epoch <= written:
        epochs = [epoch for epoch in epochs if epoch.epoch > written]
    last = {"epoch": epochs[-1].epoch, "metrics": _metrics(epochs[-1])} if epochs else {}
    job = queue.guarded(session, claim, **last, **progress)
    if epochs:
        _insert(session.connection(), job_id, epochs)
    return job


def _insert(connection: Connection, job_id: str, epochs: Sequence[Measurement]) -> None:
    """Add rows; to SQLite many with each statement.

    Its driver gives the interpreter's lock up and asks for it again at every row of `executemany`. The training, which
    takes the lock for microseconds between two compiled calls, would wait for it each time: 4 µs an epoch, against 1.
    """
    whole = 0
    if connection.dialect.name == "sqlite":
        whole = len(epochs) // STATEMENT_ROWS * STATEMENT_ROWS
        for start in range(0, whole, STATEMENT_ROWS):
            values = chain.from_iterable(epochs[start : start + STATEMENT_ROWS])
            connection.exec_driver_sql(_MANY_ROWS, (job_id, *values))
    if whole < len(epochs):
        connection.execute(insert(EpochRow), [{"job_id": job_id, **epoch._asdict()} for epoch in epochs[whole:]])


def rewind(session: Session, queue: Queue, claim: Claim, epoch: int) -> int:
    """Take the history back to an epoch from which the job goes on, or to its beginning if it has gaps until there."""
    job_id = claim.job_id
    until = (EpochRow.job_id == job_id, EpochRow.epoch <= epoch)
    whole = session.scalar(select(func.count(EpochRow.epoch.distinct())).where(*until)) == epoch
    at_the_end = select(EpochRow).where(EpochRow.job_id == job_id, EpochRow.epoch == epoch).limit(1)
    last = session.scalar(at_the_end) if whole and epoch else None
    reached = epoch if last is not None else 0
    metrics = _metrics(last) if last is not None else None
    queue.guarded(session, claim, epoch=reached, metrics=metrics, resumed_epoch=reached or None)
    session.execute(delete(EpochRow).where(EpochRow.job_id == job_id, EpochRow.epoch > reached))
    return reached


def read(database: Database, job_id: str, after_epoch: int, limit: int) -> list[EpochRow]:
    """The epochs that follow `after_epoch`, in order, at most `limit` of them; of a sweep with every candidate."""
    first, last = (min(epoch, LARGEST_EPOCH) for epoch in (after_epoch, after_epoch + limit))
    following = EpochRow.epoch > first, EpochRow.epoch <= last
    query = select(EpochRow).where(EpochRow.job_id == job_id, *following)
    with database.read() as session:
        return list(session.scalars(query.order_by(EpochRow.epoch, EpochRow.candidate)))


def version(database: Database, job_id: str) -> tuple[object, ...]:
    """What changes whenever the history of a job does."""
    with database.read() as session:
        job = find(session, job_id)
        first = session.scalar(select(func.min(EpochRow.epoch)).where(EpochRow.job_id == job_id))
        return job.id, job.attempt, job.epoch, first


def sample(database: Database, job_id: str, after_epoch: int, points: int) -> list[EpochRow]:
    """At most `points` epochs that draw the same curves, with the extremes of each (see `extremes`).

    The first and the last epoch are always among them. An epoch of a sweep comes with every candidate.
    """
    of_job = (EpochRow.job_id == job_id, EpochRow.epoch > after_epoch)
    with database.read() as session:
        measured = select(EpochRow.epoch, EpochRow.candidate, *(getattr(EpochRow, name) for name in _METRICS))
        rows = session.execute(measured.where(*of_job).order_by(EpochRow.epoch).execution_options(yield_per=10_000))
        chosen = sampled((tuple(row) for row in rows), len(_METRICS), points)
        kept = select(EpochRow).where(EpochRow.job_id == job_id, EpochRow.epoch.in_(chosen))
        return list(session.scalars(kept.order_by(EpochRow.epoch, EpochRow.candidate)))


def metrics_at(session: Session, job_id: str, epoch: int, candidate: int = 0) -> dict[str, Any] | None:
    """What was measured after an epoch, in a sweep of one candidate, if that is kept."""
    row = session.get(EpochRow, {"job_id": job_id, "epoch": epoch, "candidate": candidate})
    return _metrics(row) if row is not None else None


def _metrics(epoch: Measurement | EpochRow) -> dict[str, Any]:
    return {name: getattr(epoch, name) for name in _METRICS if getattr(epoch, name) is not None}
