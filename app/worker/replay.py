"""A replay: whether a job that ran again has every bit of the first run."""

from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, aliased

from app.models.registry import key
from app.models.weights import Weights, load
from app.storage import Storage
from app.tables import EpochRow, JobRow

_BITS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate")
SHOWN = 5


class Replay:
    """The second run of a job, held against the first."""

    def __init__(self, job: JobRow, storage: Storage, weights: Weights, receipt: dict[str, Any]) -> None:
        self._job = job
        self._storage = storage
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
        first, second = aliased(EpochRow), aliased(EpochRow)
        unlike = [getattr(first, name).is_distinct_from(getattr(second, name)) for name in _BITS]
        both = select(second.epoch).outerjoin(first, (first.job_id == first_id) & (first.epoch == second.epoch))
        both = both.where(second.job_id == self._job.id)
        found = session.scalars(both.where(or_(first.epoch.is_(None), *unlike)).order_by(second.epoch))
        counts = [
            session.scalar(select(func.count()).where(EpochRow.job_id == job_id)) or 0
            for job_id in (first_id, self._job.id)
        ]
        missing = list(range(counts[1] + 1, counts[0] + 1))
        return counts[1], [*found, *missing]

    def _weights_of(self, first: JobRow) -> list[str]:
        if first.model_id is None:
            return []
        try:
            kept, _, _ = load(self._storage.path(key(first.model_id)))
        except FileNotFoundError:
            return ["the first model is deleted, so that its weights cannot be compared"]
        alike = (
            kept.weights.tobytes() == self._weights.weights.tobytes()
            and kept.bias.tobytes() == self._weights.bias.tobytes()
        )
        return [] if alike else ["weights"]


def _receipts(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    names = sorted(first.keys() | second.keys())
    return [f"receipt: {name}" for name in names if first.get(name) != second.get(name)]


def _verdict(compared: int, differences: list[str]) -> dict[str, Any]:
    return {"identical": not differences, "epochs_compared": compared, "differences": differences}
