"""The large regime: two GEMMs a step on columns padded to a multiple of 16, and compiled loops for the rest.

NumPy's GEMM and torch's take about the same time here (20 and 23 ms for the products of an epoch of Fashion-MNIST
on two cores), and with NumPy's there is one thread pool less. Pixels stay uint8 until their minibatch is gathered;
their scale enters behind the products, so that no feature is multiplied by it. Nothing is allocated in the loop.
"""

import numpy as np
from numpy.typing import NDArray

from app.training import kernels
from app.training.compilation import frozen
from app.training.cost import padded
from app.training.engine import Report
from app.training.losses import CODES, CROSS_ENTROPY
from app.training.pieces import answers, permute, update_of
from app.training.problem import Parameters
from app.training.setting import Setting

MEASURED_ENTRIES = 800_000
"""Features that are widened and measured at a time: 3.2 MB, which the caches hold."""

STEP_ENTRIES = 4_000_000
"""Features of a minibatch that are gathered at a time, 16 MB: the gradient of a larger one is summed over blocks."""

MINUS_INFINITY = np.float32(-1e30)
"""The padding's logits: a finite stand-in, since the step multiplies them by 0, and 0·∞ is NaN."""


class GemmEngine:
    """Minibatch SGD of a large problem on the CPU.

    Shapes:  theta = [W (d × K) | b (K)], K = k padded; the padding's weights are 0, and its bias is −∞ under
    softmax
    """

    def __init__(self, setting: Setting, pace: int) -> None:
        problem = setting.problem
        self.pace = pace
        self._setting, self._loss = setting, CODES[str(setting.options.loss)]
        self._splits = [rows for rows in (problem.train, problem.train, problem.validation) if rows is not None]
        self._answers = [answers(rows, setting) for rows in self._splits]
        self._data = frozen(problem.train.X)
        self._order = np.empty(problem.train.count, np.int32)
        self._totals = np.zeros((3, 2))
        self._lay_out_parameters()
        self._lay_out_blocks()
        self._prepare_steps()

    def _lay_out_parameters(self) -> None:
        start, velocity = self._setting.start, self._setting.velocity
        d, k = start.weights.shape
        columns = padded(k)
        self._theta, self._velocity, self._gradient, self._decay = np.zeros((4, d * columns + columns), np.float32)
        _split(self._decay, d)[0][:] = self._setting.decay[:, None]
        self._weights, self._bias = _split(self._theta, d)
        self._weights_gradient, _ = _split(self._gradient, d)
        for target, given in ((self._theta, start), (self._velocity, velocity)):
            if given is not None:
                weights, bias = _split(target, d)
                weights[:, :k], bias[:k] = given.weights, given.bias
        if self._loss == CROSS_ENTROPY:
            self._bias[k:] = MINUS_INFINITY

    def _lay_out_blocks(self) -> None:
        d, columns = self._weights.shape
        self._step_block = min(self._setting.batch_size, max(1, STEP_ENTRIES // d))
        self._block = max(self._step_block, MEASURED_ENTRIES // d)
        self._rows = np.empty((self._block, d), np.float32)
        self._z = np.empty((self._block, columns), np.float32)
        self._sequence = np.arange(self._block, dtype=np.int32)
        self._part = np.empty((d, columns), np.float32)

    def _prepare_steps(self) -> None:
        self._update = update_of(self._setting)
        self._state = self._theta, self._velocity, self._gradient, self._decay, self._z
        self._biases = self._bias, self._gradient[self._weights.size :]
        self._summed = self._setting.options.gradient_reduction == "sum"

    def begin(self, epoch: int) -> None:
        """See `Engine`."""
        permute(self._order, self._setting, epoch)
        self._totals.fill(0)

    def descend(self, first: int, last: int, rates: NDArray[np.float32]) -> None:
        """See `Engine`."""
        batch, count = self._setting.batch_size, len(self._order)
        with np.errstate(over="ignore", invalid="ignore"):  # a divergence is seen in the totals
            for s in range(first, last):
                self._step(s * batch, min((s + 1) * batch, count), rates[s])

    def _step(self, start: int, stop: int, rate: np.float32) -> None:
        """Sum the gradient over the rows start…stop−1 of the order, and move."""
        self._biases[1].fill(0)
        self._differentiate(start, min(start + self._step_block, stop), self._weights_gradient)
        for first in range(start + self._step_block, stop, self._step_block):
            self._differentiate(first, min(first + self._step_block, stop), self._part)
            np.add(self._weights_gradient, self._part, out=self._weights_gradient)
        share = np.float32(1 if self._summed else 1 / (stop - start))
        scale = np.float32(self._setting.problem.train.scale)
        kernels.finish(self._state, rate, (scale * share, share, self._weights.size), self._update)

    def _differentiate(self, start: int, stop: int, gradient: NDArray[np.float32]) -> None:
        """Gather, multiply, turn outputs into slopes, multiply."""
        X, z = self._rows[: stop - start], self._z[: stop - start]
        kernels.gather(self._data, self._order, start, stop, X)
        np.matmul(X, self._weights, out=z)
        scale, chosen = np.float32(self._setting.problem.train.scale), (self._order, start, stop)
        kernels.answer(z, self._biases, scale, chosen, self._answers[0], self._loss, self._totals[0])
        np.matmul(X.T, z, out=gradient)

    def measure(self, split: int, start: int, stop: int) -> None:
        """See `Engine`."""
        with np.errstate(over="ignore", invalid="ignore"):
            for first in range(start, stop, self._block):
                self._measure_block(split, first, min(first + self._block, stop))

    def _measure_block(self, split: int, start: int, stop: int) -> None:
        rows, m = self._splits[split], stop - start
        X, z = rows.X[start:stop], self._z[:m]
        if X.dtype != np.float32:
            X = self._rows[:m]
            np.copyto(X, rows.X[start:stop])
        np.matmul(X, self._weights, out=z)
        targets, labels, shares = self._answers[split]
        truth = targets[start:stop], labels[start:stop], shares
        chosen = self._sequence, 0, m
        kernels.answer(z, self._biases, np.float32(rows.scale), chosen, truth, self._loss, self._totals[split])

    def report(self) -> Report:
        """See `Engine`."""
        velocity = self._parameters(self._velocity) if self._setting.options.momentum else None
        return Report(self._totals, self._parameters(self._theta), velocity)

    def _parameters(self, theta: NDArray[np.float32]) -> Parameters:
        d, k = self._setting.start.weights.shape
        weights, bias = _split(theta, d)
        return Parameters(weights[:, :k].copy(), bias[:k].copy())


def _split(theta: NDArray[np.float32], features: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The views W (d × K) and b (K) of a flat vector."""
    columns = theta.size // (features + 1)
    return theta[: features * columns].reshape(features, columns), theta[features * columns :]
