"""How a job ended, and what it tells of that."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.job_status import Status
from app.jobs.error_codes import ErrorCode
from app.jobs.spec import Spec
from app.training.errors import Diverged
from app.training.optimum import Objectives
from app.training.problem import Parameters

NOTHING_KEPT = "No model is kept, since no weights were finite."


@dataclass
class Outcome:
    """How a job ended; `objectives` where the gap to the optimum was asked for and found."""

    status: Status
    parameters: Parameters | None = None
    error: dict[str, Any] | None = None
    objectives: Objectives | None = None
    epochs: int | None = None

    def line(self) -> dict[str, Any]:
        """What a line of the log says of it."""
        error = self.error["code"] if self.error is not None else None
        told = {"epochs": self.epochs, "error": error}
        return {"status": self.status, **{name: value for name, value in told.items() if value is not None}}


def divergence(diverged: Diverged) -> dict[str, Any]:
    """What a job tells whose loss or weights became non-finite."""
    rate = diverged.learning_rate_to_try
    kept = "The last finite weights are kept as a partial model." if is_finite(diverged.parameters) else NOTHING_KEPT
    return {
        "code": ErrorCode.DIVERGED,
        "detail": f"The loss or a weight became non-finite in epoch {diverged.epoch}; try learning_rate {rate:.3g}, "
        f'or "auto". {kept}',
        "epoch": diverged.epoch,
        "learning_rate_to_try": rate,
    }


def finite_or_diverged(outcome: Outcome) -> Outcome:
    """The same, without weights that are not finite: a training that ends with them has diverged."""
    if outcome.parameters is None or is_finite(outcome.parameters):
        return outcome
    if outcome.status is Status.SUCCEEDED:
        detail = "A weight became non-finite: the numbers are too large for float32. Use another unit or `standardize`."
        return Outcome(Status.DIVERGED, error={"code": ErrorCode.DIVERGED, "detail": f"{detail} {NOTHING_KEPT}"})
    return replace(outcome, parameters=None)


def is_finite(parameters: Parameters) -> bool:
    """Whether every weight is a number."""
    return bool(np.isfinite(parameters.weights).all() and np.isfinite(parameters.bias).all())


def out_of_time(spec: Spec) -> dict[str, Any]:
    """What a job tells that had more to learn than time."""
    return {
        "code": ErrorCode.TIME_LIMIT,
        "detail": f"The time limit of {spec.time_limit_seconds:g} seconds was reached before the last epoch. The best "
        "weights until then are kept as a partial model.",
    }
