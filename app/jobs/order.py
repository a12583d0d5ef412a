"""An order: a job as it is submitted."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Order:
    """The effective spec, and what the queue has to know of it."""

    spec: dict[str, Any]
    model: str
    dataset_id: str | None
    validation_dataset_id: str | None
    epochs: int
    requested_device: str
    rank: int = 0
    replay_of: str | None = None
    kind: str = "train"
