"""The engine of a sweep: all candidates in one pass over shared minibatches.

Their weights stand side by side, W is d × C·k, so that each minibatch is gathered once and both GEMMs are wide. The
padding to a multiple of 16 is shared too: sixteen candidates of ten classes need 160 columns, where sixteen jobs
need 256.
"""

import numpy as np
from numpy.typing import NDArray

from app.training import kernels, sweep_kernels
from app.training.compilation import frozen
from app.training.cost import padded
from app.training.gemm import MEASURED_ENTRIES, STEP_ENTRIES
from app.training.losses import CODES
from app.training.pieces import answers, permute
from app.training.problem import Parameters
from app.training.setting import Setting


class SweepEngine:
    """Minibatch SGD of many candidates on the CPU.

    Shapes:  theta (d + 1, K), bias last, K = C·k padded; columns c·k … (c+1)·k − 1 are candidate c's
    """

    def __init__(self, settings: list[Setting], pace: int) -> None:
        self.pace = pace
        self._setting = settings[0]
        problem = self._setting.problem
        self._count, self._k = len(settings), problem.outputs
        self._loss = CODES[str(self._setting.options.loss)]
        self._splits = [rows for rows in (problem.train, problem.train, problem.validation) if rows is not None]
        self._answers = [answers(rows, self._setting) for rows in self._splits]
        self._data = frozen(problem.train.X)
        self._order = np.empty(problem.train.count, np.int32)
        self.totals = np.zeros((3, self._count, 2))
        self._lay_out(settings)

    def _lay_out(self, settings: list[Setting]) -> None:
        d, columns = self._setting.problem.train.features, padded(self._count * self._k)
        self._state = tuple(np.zeros((4, d + 1, columns), np.float32))
        theta, velocity, _, decay = self._state
        self._rates, self._momenta, self._thresholds, *directions = np.zeros((5, columns), np.float32)
        self._directions = directions[0], directions[1]
        for number, setting in enumerate(settings):
            own = self._columns(number)
            theta[:-1, own], theta[-1, own] = setting.start.weights, setting.start.bias
            if setting.velocity is not None:
                velocity[:-1, own], velocity[-1, own] = setting.velocity.weights, setting.velocity.bias
            decay[:-1, own] = setting.decay[:, None]
            self._momenta[own], self._thresholds[own] = setting.options.momentum or 0, setting.threshold
            self._directions[0][own], self._directions[1][own] = setting.directions
        batch = self._setting.batch_size
        self._step_block = min(batch, max(1, STEP_ENTRIES // d))
        self._block = max(self._step_block, MEASURED_ENTRIES // d)
        self._rows = np.empty((self._block, d), np.float32)
        self._z = np.empty((self._block, columns), np.float32)
        self._part = np.empty((d, columns), np.float32)
        self._sequence = np.arange(self._block, dtype=np.int32)

    def _columns(self, number: int) -> slice:
        return slice(number * self._k, (number + 1) * self._k)

    def begin(self, epoch: int) -> None:
        """Draw the epoch's permutation and clear the totals."""
        permute(self._order, self._setting, epoch)
        self.totals.fill(0)

    def descend(self, first: int, last: int, rates: NDArray[np.float32]) -> None:
        """Take the steps first…last−1; rates[c, s] is candidate c's at step s."""
        batch, count = self._setting.batch_size, len(self._order)
        with np.errstate(over="ignore", invalid="ignore"):  # a divergence is seen in the totals
            for s in range(first, last):
                self._rates[: self._count * self._k] = np.repeat(rates[:, s], self._k)
                self._step(s * batch, min((s + 1) * batch, count))

    def _step(self, start: int, stop: int) -> None:
        gradient = self._state[2]
        gradient[-1] = 0
        for first in range(start, stop, self._step_block):
            into = gradient[:-1] if first == start else self._part
            self._differentiate(first, min(first + self._step_block, stop), into)
            if first > start:
                np.add(gradient[:-1], self._part, out=gradient[:-1])
        options = self._setting.options
        share = np.float32(1 if options.gradient_reduction == "sum" else 1 / (stop - start))
        scales = np.float32(self._setting.problem.train.scale) * share, share
        sweep_kernels.step_all(self._state, self._rates, self._momenta, self._directions, self._thresholds, scales)

    def _differentiate(self, start: int, stop: int, into: NDArray[np.float32]) -> None:
        X, z = self._rows[: stop - start], self._z[: stop - start]
        kernels.gather(self._data, self._order, start, stop, X)
        self._answer(X, z, (self._order, start, stop), 0, self._answers[0])
        np.matmul(X.T, z, out=into)

    def _answer(
        self, X: NDArray[np.float32], z: NDArray[np.float32], chosen: object, split: int, truth: object
    ) -> None:
        theta, _, gradient, _ = self._state
        np.matmul(X, theta[:-1], out=z)
        scale = np.float32(self._splits[split].scale)
        sweep_kernels.answer_all(
            z, (theta[-1], gradient[-1]), scale, chosen, truth, self._loss, self._k, self.totals[split]
        )

    def measure(self, split: int, start: int, stop: int) -> None:
        """Add every candidate's losses and hits of rows start…stop−1 of a split to the totals."""
        rows, (targets, labels, shares) = self._splits[split], self._answers[split]
        with np.errstate(over="ignore", invalid="ignore"):
            for first in range(start, stop, self._block):
                chosen = slice(first, min(first + self._block, stop))
                m = chosen.stop - first
                X = self._rows[:m]
                np.copyto(X, rows.X[chosen])
                truth = targets[chosen], labels[chosen], shares
                self._answer(X, self._z[:m], (self._sequence, 0, m), split, truth)

    def parameters(self, number: int) -> Parameters:
        """W and b of a candidate."""
        return self._own(self._state[0], number)

    def velocity(self, number: int) -> Parameters:
        """The velocity of a candidate."""
        return self._own(self._state[1], number)

    def _own(self, theta: NDArray[np.float32], number: int) -> Parameters:
        own = self._columns(number)
        return Parameters(theta[:-1, own].copy(), theta[-1, own].copy())

    def drop(self, number: int) -> None:
        """Let a candidate that diverged rest at 0."""
        own = self._columns(number)
        for array in self._state:
            array[:, own] = 0
