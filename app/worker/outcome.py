"""How a training ended, and what the job tells of it."""

from dataclasses import dataclass
from typing import Any

from app.jobs.spec import Spec
from app.jobs.status import Status
from app.training.errors import Diverged
from app.training.optimum import Objectives
from app.training.problem import Parameters


@dataclass
class Outcome:
    """How the training ended; `objectives` where the gap to the optimum was asked for and found."""

    status: Status
    parameters: Parameters | None = None
    error: dict[str, Any] | None = None
    objectives: Objectives | None = None


def divergence(diverged: Diverged) -> dict[str, Any]:
    """What a job tells whose loss or weights became non-finite."""
    rate = diverged.learning_rate_to_try
    return {
        "code": "diverged",
        "detail": f"The loss or a weight became non-finite in epoch {diverged.epoch}; try learning_rate {rate:.3g}, "
        'or "auto". The last finite weights are kept as a partial model.',
        "epoch": diverged.epoch,
        "learning_rate_to_try": rate,
    }


def out_of_time(spec: Spec) -> dict[str, Any]:
    """What a job tells that had more to learn than time."""
    return {
        "code": "time-limit",
        "detail": f"The time limit of {spec.time_limit_seconds:g} seconds was reached before the last epoch. The best "
        "weights until then are kept as a partial model.",
    }
