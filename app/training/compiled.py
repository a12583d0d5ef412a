"""The small regime: a whole slice of an epoch in one compiled call, weights stored by output (k × d)."""

import numpy as np
from numpy.typing import NDArray

from app.training import kernels
from app.training.compilation import frozen
from app.training.engine import Report
from app.training.losses import CODES
from app.training.pieces import MEASURED_ROWS, answers, permute, update_of
from app.training.problem import Parameters, Rows
from app.training.setting import Setting

BLOCK = 64
"""Rows that are measured at a time, so that their outputs stay in the first-level cache."""

CACHED_BYTES = 2**20
"""Features that a core's own caches hold, so that their rows need not be asked for ahead."""


class CompiledEngine:
    """Minibatch SGD of a small problem on the CPU."""

    def __init__(self, setting: Setting, pace: int) -> None:
        problem = setting.problem
        self.pace = pace
        self._setting = setting
        train = _features(problem.train), *answers(problem.train, setting)
        self._splits = [train, train]
        if problem.validation is not None:
            self._splits.append((_features(problem.validation), *answers(problem.validation, setting)))
        self._shape = problem.outputs, problem.train.features
        self._theta = _flat(setting.start)
        self._velocity = np.zeros_like(self._theta) if setting.velocity is None else _flat(setting.velocity)
        z = np.empty((max(BLOCK, setting.batch_size), problem.outputs), np.float32)
        decay = np.zeros_like(self._theta)
        decay[: -problem.outputs].reshape(problem.outputs, -1)[:] = setting.decay
        self._state = self._theta, self._velocity, np.zeros_like(self._theta), decay, z
        self._order = np.empty(problem.train.count, np.int32)
        longest = max(len(rows[0]) for rows in self._splits)
        self._sequence = np.arange(min(longest, MEASURED_ROWS), dtype=np.int32)
        self._totals = np.zeros((3, 2))
        ahead = setting.batch_size if self._splits[0][0].nbytes > CACHED_BYTES else 0
        self._step = setting.batch_size, setting.options.gradient_reduction == "sum", ahead
        self._update, self._loss = update_of(setting), CODES[str(setting.options.loss)]

    def begin(self, epoch: int) -> None:
        """See `Engine`."""
        permute(self._order, self._setting, epoch)
        self._totals.fill(0)

    def descend(self, first: int, last: int, rates: NDArray[np.float32]) -> None:
        """See `Engine`."""
        span = first, last, *self._step
        kernels.descend(
            self._splits[0], self._order, span, rates, self._state, self._update, self._loss, self._totals[0]
        )

    def measure(self, split: int, start: int, stop: int) -> None:
        """See `Engine`."""
        for first in range(start, stop, MEASURED_ROWS):
            last = min(first + MEASURED_ROWS, stop)
            X, targets, labels, shares = self._splits[split]
            rows = X[first:last], targets[first:last], labels[first:last], shares
            kernels.survey(rows, self._sequence, (0, last - first), self._state, self._loss, self._totals[split])

    def report(self) -> Report:
        """See `Engine`."""
        velocity = self._parameters(self._velocity) if self._setting.options.momentum else None
        return Report(self._totals, self._parameters(self._theta), velocity)

    def _parameters(self, theta: NDArray[np.float32]) -> Parameters:
        k, d = self._shape
        return Parameters(theta[: k * d].reshape(k, d).T.copy(order="C"), theta[k * d :].copy())


def _flat(parameters: Parameters) -> NDArray[np.float32]:
    """[W (k × d) | b (k)], a copy."""
    return np.concatenate([parameters.weights.T.ravel(), parameters.bias])


def _features(rows: Rows) -> NDArray[np.float32]:
    """Features as the kernels take them; pixels are widened once, since small problems have room for that."""
    return frozen(rows.X if rows.X.dtype == np.float32 and rows.scale == 1 else rows.X * np.float32(rows.scale))
