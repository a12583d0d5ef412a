"""The loss history: one row an epoch, written in bulk by the worker, read by whoever watches."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.database import Database
from app.jobs.queue import Claim, Queue
from app.tables import EpochRow, JobRow

Measurement = dict[str, Any]
"""The columns of an `EpochRow` but its job: epoch, losses, accuracies, learning_rate, seconds."""


def record(session: Session, queue: Queue, claim: Claim, epochs: Sequence[Measurement], **progress: Any) -> JobRow:
    """Add epochs and the job's progress in the caller's transaction, if the job is still the worker's own."""
    job_id = claim[0]
    last = {"epoch": epochs[-1]["epoch"], "metrics": _metrics(epochs[-1])} if epochs else {}
    job = queue.guarded(session, claim, **last, **progress)
    if epochs:
        session.execute(insert(EpochRow), [{"job_id": job_id, **epoch} for epoch in epochs])
    return job


def read(database: Database, job_id: str, after_epoch: int, limit: int) -> list[EpochRow]:
    """The epochs that follow `after_epoch`, in order, at most `limit` of them; of a sweep with every candidate."""
    following = EpochRow.epoch > after_epoch, EpochRow.epoch <= after_epoch + limit
    query = select(EpochRow).where(EpochRow.job_id == job_id, *following)
    with database.read() as session:
        return list(session.scalars(query.order_by(EpochRow.epoch, EpochRow.candidate)))


def sample(database: Database, job_id: str, after_epoch: int, points: int) -> list[EpochRow]:
    """At most `points` epochs that draw the same curve: of each stretch, those of least and greatest training loss.

    The first and the last epoch are always among them.
    """
    of_job = (EpochRow.job_id == job_id, EpochRow.epoch > after_epoch)
    with database.read() as session:
        first, last, count = session.execute(
            select(func.min(EpochRow.epoch), func.max(EpochRow.epoch), func.count()).where(*of_job)
        ).one()
        if count <= points:
            return list(session.scalars(select(EpochRow).where(*of_job).order_by(EpochRow.epoch)))
        losses = session.execute(select(EpochRow.epoch, EpochRow.train_loss).where(*of_job).order_by(EpochRow.epoch))
        chosen = _extremes([(row[0], row[1]) for row in losses], max(0, points - 2) // 2) | {first, last}
        kept = select(EpochRow).where(EpochRow.job_id == job_id, EpochRow.epoch.in_(sorted(chosen)[:points]))
        return list(session.scalars(kept.order_by(EpochRow.epoch)))


def _extremes(losses: list[tuple[int, float | None]], stretches: int) -> set[int]:
    chosen: set[int] = set()
    for stretch in range(stretches):
        part = losses[stretch * len(losses) // stretches : (stretch + 1) * len(losses) // stretches]
        finite = [(loss, epoch) for epoch, loss in part if loss is not None]
        if finite:
            chosen |= {min(finite)[1], max(finite)[1]}
    return chosen


def _metrics(epoch: Measurement) -> dict[str, Any]:
    names = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
    return {name: epoch[name] for name in names if epoch[name] is not None}
