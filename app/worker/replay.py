"""A replay: whether a job that ran again has every bit of the first run."""

from typing import Any

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session, aliased

from app.errors import ModelNotFound
from app.models.registry import Registry
from app.models.weights import Weights, load
from app.tables import EpochRow, JobRow

_BITS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate")
SHOWN = 5


class Replay:
    """The second run of a job, held against the first."""

    def __init__(self, job: JobRow, registry: Registry, weights: Weights, receipt: dict[str, Any]) -> None:
        self._job = job
        self._registry = registry
        self._weights = weights
        self._receipt = receipt

    def compare(self, session: Session) -> dict[str, Any]:
        """Where history, weights and receipt differ; all that is measured but the seconds has to agree."""
        first = session.get(JobRow, self._job.replay_of)
        if first is None:
            return _verdict(0, ["the first run is gone"])
        compared, unlike = self._history(session, first.id)
        differences = [f"epoch {epoch}" for epoch in unlike[:SHOWN]]
        if len(unlike) > SHOWN:
            differences.append(f"{len(unlike) - SHOWN} more epochs")
        differences += self._weights_of(first) + _receipts(first.receipt or {}, self._receipt)
        return _verdict(compared, differences)

    def _history(self, session: Session, first_id: str) -> tuple[int, list[int]]:
        compared = select(func.count(EpochRow.epoch.distinct())).where(EpochRow.job_id == self._job.id)
        unlike = {*session.scalars(_unlike(self._job.id, first_id)), *session.scalars(_unlike(first_id, self._job.id))}
        return session.scalar(compared) or 0, sorted(unlike)

    def _weights_of(self, first: JobRow) -> list[str]:
        if first.model_id is None:
            return []
        try:
            with self._registry.files(first.model_id) as folder:
                kept, *_ = load(folder)
        except ModelNotFound:
            return ["the first model is deleted, so that its weights cannot be compared"]
        alike = (
            kept.weights.tobytes() == self._weights.weights.tobytes()
            and kept.bias.tobytes() == self._weights.bias.tobytes()
        )
        return [] if alike else ["weights"]


def _unlike(job_id: str, other_id: str) -> Select[int]:
    """The epochs of a job of which the other has no row that agrees in every bit, of a sweep for each candidate."""
    own, other = aliased(EpochRow), aliased(EpochRow)
    same = (other.job_id == other_id) & (other.epoch == own.epoch) & (other.candidate == own.candidate)
    bits = [getattr(own, name).is_not_distinct_from(getattr(other, name)) for name in _BITS]
    joined = select(own.epoch).outerjoin(other, and_(same, *bits))
    return joined.where(own.job_id == job_id, other.epoch.is_(None))


def _receipts(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    names = sorted(first.keys() | second.keys())
    return [f"receipt: {name}" for name in names if first.get(name) != second.get(name)]


def _verdict(compared: int, differences: list[str]) -> dict[str, Any]:
    return {"identical": not differences, "epochs_compared": compared, "differences": differences}
