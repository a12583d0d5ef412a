"""The CUDA engine: data on the device, steps recorded in a CUDA graph, one wait of the host an epoch.

The same mathematics as on the CPU, in torch operations. An epoch of up to RECORDED_STEPS steps is one graph; a longer
one replays a graph of that many steps, and another of those that are left. What a step needs it finds on the device:
its place in the epoch, the permutation (drawn there, a function of seed and epoch) and the learning rates; so one
recording serves all epochs. Rows that do not fit come in blocks (see `cuda_rows`). Only where an epoch takes several
replays does the host wait in between, for the replay before the last, so that a job can be stopped.

The device is an argument: with "cpu" the very same steps run one by one, and can be checked where there is no GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from app.training import pieces
from app.training.cuda_recording import Recorder, Steps
from app.training.cuda_rows import BLOCK_BYTES, Resident, Source, Streamed, budget, tensor
from app.training.engine import Report
from app.training.errors import DeviceFull
from app.training.problem import Parameters, Rows
from app.training.setting import Setting

MEASURED_ENTRIES = 32_000_000
"""Features that are widened and measured at a time: 128 MB."""
RECORDED_STEPS = 1000
"""About 15 000 kernels: some 0.2 s to record, and less than 0.1 s to run."""


class CudaEngine:
    """Minibatch SGD on one torch device.

    `budget_bytes` is what rows may take there, by default most of its free memory.

    Shapes:  weights (d, k), bias (k,), and their velocities, float32
    """

    def __init__(self, setting: Setting, device: str = "cuda", budget_bytes: float | None = None) -> None:
        self._setting, self._batch, self._count = setting, setting.batch_size, setting.problem.train.count
        self._device = torch.device(device)
        self._scale, self._paged = setting.problem.train.scale, setting.problem.train.pages is not None
        self._recordings: dict[tuple[int, int], Steps] = {}
        with full_device_told():
            self._lay_out_rows(budget(self._device) if budget_bytes is None else budget_bytes)
            self._lay_out_parameters()
            self._lay_out_epoch()

    def _lay_out_rows(self, left: float) -> None:
        problem = self._setting.problem
        splits = [problem.train] if problem.validation is None else [problem.train, problem.validation]
        self.pace = pieces.pace(RECORDED_STEPS, self._setting)
        if sum(rows.X.nbytes for rows in splits) > left:
            self.pace = max(1, min(self.pace, BLOCK_BYTES // (self._batch * problem.train.X.strides[0])))
        self._height = min(self.pace * self._batch, max(1, MEASURED_ENTRIES // problem.train.features))
        sources: list[Source] = []
        for rows in splits:
            fits = rows.X.nbytes <= left
            left -= rows.X.nbytes if fits else 0
            sources.append(Resident(rows, self._device) if fits else self._streamed(rows))
        self._sources = [sources[0], *sources]
        answers = [self._answers(rows) for rows in splits]
        self._y = [answers[0], *answers]

    def _streamed(self, rows: Rows) -> Streamed:
        return Streamed(rows, self._device, min(self.pace * self._batch, rows.count))

    def _answers(self, rows: Rows) -> torch.Tensor:
        y = tensor(rows.y)
        return (y.long() if y.ndim == 1 else y).to(self._device)

    def _lay_out_parameters(self) -> None:
        setting = self._setting
        self._weights, self._bias = self._on_device(setting.start)
        still = torch.zeros_like(self._weights), torch.zeros_like(self._bias)
        self._velocities = still if setting.velocity is None else self._on_device(setting.velocity)
        self._decay = torch.from_numpy(setting.decay[:, None].copy()).to(self._device)
        outputs = setting.problem.outputs
        shares = np.ones(outputs, np.float32) if setting.class_weights is None else setting.class_weights
        self._shares = torch.from_numpy(shares.copy()).to(self._device)

    def _lay_out_epoch(self) -> None:
        """What the recorded steps read and write beside the parameters; none of it ever moves."""
        device, is_cuda = self._device, self._device.type == "cuda"
        steps = -(-self._count // self._batch)
        self._totals = torch.zeros(3, 2, dtype=torch.float64, device=device)
        self._order = torch.arange(self._count, device=device)
        self._host_order = np.arange(0)
        self._place = torch.zeros(1, dtype=torch.int64, device=device)
        self._span = torch.arange(self._batch, device=device)
        self._rates = torch.zeros(steps, device=device)
        self._given_rates = torch.zeros(steps, pin_memory=is_cuda)
        state = [self._weights, self._bias, *self._velocities, self._totals, self._place]
        self._recorder = Recorder(device, state)

    def _on_device(self, parameters: Parameters) -> tuple[torch.Tensor, torch.Tensor]:
        weights, bias = (torch.from_numpy(array.copy()) for array in (parameters.weights, parameters.bias))
        return weights.to(self._device), bias.to(self._device)

    def begin(self, epoch: int) -> None:
        """See `Engine`."""
        self._totals.zero_()
        if self._paged:
            order = np.empty(self._count, np.int32)
            pieces.permute(order, self._setting, epoch)
            self._host_order = order.astype(np.int64)
            self._order.copy_(torch.from_numpy(self._host_order))
            return
        seed = np.random.SeedSequence([self._setting.options.seed, epoch]).generate_state(1, np.uint64)[0]
        generator = torch.Generator(self._device).manual_seed(int(seed >> np.uint64(1)))
        torch.randperm(self._count, generator=generator, device=self._device, out=self._order)
        if isinstance(self._sources[0], Streamed):
            self._host_order = self._order.cpu().numpy()

    def descend(self, first: int, last: int, rates: NDArray[np.float32]) -> None:
        """See `Engine`."""
        batch, stop = self._batch, min(last * self._batch, self._count)
        if first == 0:
            # The copy of an epoch before is over, since the report of that epoch was waited for.
            self._given_rates.numpy()[:] = rates
            self._rates.copy_(self._given_rates, non_blocking=True)
        self._place.fill_(first)
        self._sources[0].bring(self._host_order, first * batch, stop)
        whole, rest = divmod(stop - first * batch, batch)
        with full_device_told(), products(self._setting.options.tf32):
            if (whole, rest) not in self._recordings:
                steps, few = partial(self._steps, whole, rest), partial(self._steps, min(whole, 1), rest)
                self._recordings[whole, rest] = self._recorder.recorded(steps, few)
            self._recordings[whole, rest]()

    def _steps(self, whole: int, rest: int) -> None:
        """So many whole minibatches, and one of `rest` rows if there are any."""
        for _ in range(whole):
            self._step(self._span)
        if rest:
            self._step(self._span[:rest])

    def _step(self, span: torch.Tensor) -> None:
        """The step at the place that the device has, which then goes on by one."""
        places = span + self._place * self._batch
        chosen, rate = self._order.index_select(0, places), self._rates.index_select(0, self._place)
        X = self._sources[0].minibatch(places, chosen).float()
        slope = self._score(0, X, self._y[0].index_select(0, chosen))
        share = 1.0 if self._setting.options.gradient_reduction == "sum" else 1 / len(span)
        gradient = (X.T @ slope).mul_(self._scale * share).addcmul_(self._weights, self._decay)
        self._move(self._weights, self._velocities[0], gradient, rate)
        self._move(self._bias, self._velocities[1], slope.sum(0).mul_(share), rate)
        if self._setting.threshold:
            size = (self._weights.abs() - rate * self._setting.threshold).relu_()
            self._weights.copy_(size.copysign_(self._weights))
        self._place.add_(1)

    def _move(self, w: torch.Tensor, velocity: torch.Tensor, gradient: torch.Tensor, rate: torch.Tensor) -> None:
        """The step of `kernels.step` without its penalties."""
        along_gradient, along_velocity = self._setting.directions
        velocity.mul_(self._setting.options.momentum or 0.0).add_(gradient)
        w.addcmul_(velocity, rate, value=-along_velocity)
        if along_gradient:
            w.addcmul_(gradient, rate, value=-along_gradient)

    def measure(self, split: int, start: int, stop: int) -> None:
        """See `Engine`."""
        with full_device_told(), products(self._setting.options.tf32):
            for first in range(start, stop, self._height):
                last = min(first + self._height, stop)
                X = self._sources[split].between(first, last).float()
                self._score(split, X, self._y[split][first:last])

    def _score(self, split: int, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Add losses and hits of a block to the totals; the slopes of the loss at its outputs."""
        z = torch.addmm(self._bias, X, self._weights, alpha=self._scale)
        if self._setting.options.model == "softmax":
            losses, slope = _cross_entropy(z, y)
            weights = self._shares[y][:, None]
            losses, slope = losses * weights, slope * weights
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


@contextmanager
def full_device_told() -> Iterator[None]:
    """Say in our own words that the device's memory is full."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceFull("the device's memory does not hold the training") from error


@contextmanager
def products(tf32: bool) -> Iterator[None]:
    """Matrix products in float32, or with the ten bits of TF32 where that is asked for."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def _cross_entropy(z: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses (m,) and softmax(z) − onehot(labels)."""
    log_probabilities = torch.log_softmax(z, 1)
    at_label = log_probabilities.gather(1, labels[:, None])
    slope = log_probabilities.exp_()
    losses = -at_label
    return losses, slope.scatter_add_(1, labels[:, None], torch.full_like(at_label, -1.0))


def _residual_loss(loss: str, r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values, in float64, and slopes of a loss of the residuals r = ŷ − y, (m, k) (see `losses`)."""
    wide = r.double()
    if loss == "absolute":
        return wide.abs(), r.sign()
    if loss == "huber":
        slope = r.clamp(-1, 1)
        return slope * (wide - 0.5 * slope), slope
    return (wide * wide, r + r) if loss == "mse" else (0.5 * wide * wide, r)
