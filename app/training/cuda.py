"""The CUDA engine: everything lives on the device, and the host waits for it once an epoch.

The same mathematics as on the CPU, in torch operations; its permutations are the device's own. The device is
an argument, so that the arithmetic can be checked where there is no GPU.
"""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from app.training.engine import Report, Setting
from app.training.problem import Parameters, Rows

LAUNCHES_BETWEEN_PAUSES = 500
"""Steps: their launches take the host less than 0.1 s."""


class CudaEngine:
    """Minibatch SGD on one torch device.

    Shapes:  weights (d, k), bias (k,), and their velocities, float32; TF32 stays off
    """

    def __init__(self, setting: Setting, device: str = "cuda") -> None:
        problem = setting.problem
        self.pace = LAUNCHES_BETWEEN_PAUSES
        self._setting = setting
        self._device = torch.device(device)
        self._scale = problem.train.scale
        splits = [problem.train] if problem.validation is None else [problem.train, problem.validation]
        resident = [self._resident(rows) for rows in splits]
        self._splits = [resident[0], *resident]
        self._weights, self._bias = self._on_device(setting.start)
        still = torch.zeros_like(self._weights), torch.zeros_like(self._bias)
        self._velocities = still if setting.velocity is None else self._on_device(setting.velocity)
        self._totals = torch.zeros(3, 2, dtype=torch.float64, device=self._device)
        self._order = torch.empty(0, dtype=torch.int64, device=self._device)

    def _resident(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            X, y = torch.from_numpy(np.asarray(rows.X)), torch.from_numpy(np.asarray(rows.y))
        return X.to(self._device), (y.long() if y.ndim == 1 else y).to(self._device)

    def _on_device(self, parameters: Parameters) -> tuple[torch.Tensor, torch.Tensor]:
        weights, bias = (torch.from_numpy(array.copy()) for array in (parameters.weights, parameters.bias))
        return weights.to(self._device), bias.to(self._device)

    def begin(self, epoch: int) -> None:
        """See `Engine`."""
        seed = np.random.SeedSequence([self._setting.options.seed, epoch]).generate_state(1, np.uint64)[0]
        generator = torch.Generator(self._device).manual_seed(int(seed >> np.uint64(1)))
        count = self._setting.problem.train.count
        self._order = torch.randperm(count, generator=generator, device=self._device)
        self._totals.zero_()

    def descend(self, first: int, last: int, rates: NDArray[np.float32]) -> None:
        """See `Engine`."""
        batch = self._setting.batch_size
        for s in range(first, last):
            self._step(self._order[s * batch : (s + 1) * batch], float(rates[s]))

    def _step(self, chosen: torch.Tensor, rate: float) -> None:
        X, y = self._splits[0]
        X = X.index_select(0, chosen).float()
        slope = self._score(0, X, y.index_select(0, chosen))
        share = 1.0 if self._setting.options.gradient_reduction == "sum" else 1 / len(chosen)
        gradient = (X.T @ slope).mul_(self._scale * share).add_(self._weights, alpha=self._setting.options.l2)
        self._move(self._weights, self._velocities[0], gradient, rate)
        self._move(self._bias, self._velocities[1], slope.sum(0).mul_(share), rate)
        threshold = rate * self._setting.options.l1
        if threshold:
            self._weights.copy_(torch.nn.functional.softshrink(self._weights, threshold))

    def _move(self, w: torch.Tensor, velocity: torch.Tensor, gradient: torch.Tensor, rate: float) -> None:
        """The step of `kernels.step` without its penalties."""
        along_gradient, along_velocity = self._setting.directions
        velocity.mul_(self._setting.options.momentum).add_(gradient)
        w.sub_(velocity, alpha=rate * along_velocity)
        if along_gradient:
            w.sub_(gradient, alpha=rate * along_gradient)

    def measure(self, split: int, start: int, stop: int) -> None:
        """See `Engine`."""
        X, y = self._splits[split]
        self._score(split, X[start:stop].float(), y[start:stop])

    def _score(self, split: int, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Add losses and hits of a block to the totals; the slopes of the loss at its outputs."""
        z = torch.addmm(self._bias, X, self._weights, alpha=self._scale)
        if self._setting.options.model == "softmax":
            losses, slope = _cross_entropy(z, y)
            self._totals[split, 1] += (z.argmax(1) == y).sum()
        else:
            losses, slope = _residual_loss(str(self._setting.options.loss), z - y)
        self._totals[split, 0] += losses.sum(dtype=torch.float64)
        return slope

    def report(self) -> Report:
        """See `Engine`."""
        moving = bool(self._setting.options.momentum)
        tensors = [self._weights, self._bias, *(self._velocities if moving else ())]
        packed = torch.cat([self._totals.ravel(), *(tensor.ravel().double() for tensor in tensors)]).cpu().numpy()
        parameters = [self._parameters(block) for block in np.split(packed[6:], 2 if moving else 1)]
        return Report(packed[:6].reshape(3, 2), parameters[0], parameters[1] if moving else None)

    def _parameters(self, packed: NDArray[np.float64]) -> Parameters:
        d, k = self._weights.shape
        weights, bias = packed[: d * k].reshape(d, k), packed[d * k :]
        return Parameters(weights.astype(np.float32), bias.astype(np.float32))


def _cross_entropy(z: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses (m,) and softmax(z) − onehot(labels)."""
    log_probabilities = torch.log_softmax(z, 1)
    at_label = log_probabilities.gather(1, labels[:, None])
    slope = log_probabilities.exp_()
    losses = -at_label
    return losses, slope.scatter_add_(1, labels[:, None], torch.full_like(at_label, -1.0))


def _residual_loss(loss: str, r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and slopes of a loss of the residuals r = ŷ − y, (m, k) (see `losses`)."""
    if loss == "absolute":
        return r.abs(), r.sign()
    if loss == "huber":
        slope = r.clamp(-1, 1)
        return slope * (r - 0.5 * slope), slope
    return (r * r, r + r) if loss == "mse" else (0.5 * r * r, r)
