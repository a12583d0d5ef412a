"""What the loop over the epochs asks of a device: steps, measurements, and one report at the epoch's end."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.training.hyperparameters import Hyperparameters
from app.training.problem import Parameters, Problem

RUNNING, TRAIN, VALIDATION = range(3)
"""Rows of the totals: accumulated by the steps, measured on the training rows, on the validation rows."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the epoch came to.

    Shapes:  totals (3, 2) float64, the sums of losses and of hits, by RUNNING, TRAIN and VALIDATION
    velocity is None without momentum, which then needs none
    """

    totals: NDArray[np.float64]
    parameters: Parameters
    velocity: Parameters | None


class Engine(Protocol):
    """A device with the problem and the parameters on it."""

    pace: int
    """Steps between two pauses."""

    def begin(self, epoch: int) -> None:
        """Draw the epoch's permutation, a function of (seed, epoch) alone, and clear the totals."""

    def descend(self, first: int, last: int, rates: NDArray[np.float32]) -> None:
        """Take the steps first…last−1 of the epoch; rates[s] is that of step s."""

    def measure(self, split: int, start: int, stop: int) -> None:
        """Add loss and hits of rows start…stop−1 of TRAIN or VALIDATION to the totals."""

    def report(self) -> Report:
        """Totals and parameters: the one point where the host waits for the device."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What every engine is made from: the problem, options without open defaults, where to start from."""

    problem: Problem
    options: Hyperparameters
    start: Parameters
    velocity: Parameters | None = None

    @property
    def batch_size(self) -> int:
        """Rows of a step, at most all."""
        return min(self.options.batch_size or 1, self.problem.train.count)

    @property
    def directions(self) -> tuple[float, float]:
        """(along_gradient, along_velocity) of the step: (0, 1), and (1, momentum) for Nesterov."""
        return (1.0, self.options.momentum) if self.options.nesterov else (0.0, 1.0)
