"""The CUDA engine: data on the device, steps recorded in a CUDA graph, one wait of the host an epoch where all fits.

The same mathematics as on the CPU, in torch operations. An epoch is worked off in blocks of at most RECORDED_STEPS
steps: a few large kernels lay a block's rows ready in the epoch's order (drawn on the device, a function of seed and
epoch), a graph has the steps (see `cuda_steps`), and a few more sum up the losses. One recording serves all blocks of
its length and all epochs, since what differs lies in the block. Fashion-MNIST's epoch is one block. Only where an
epoch takes several does the host wait in between, for the replay before the last, so that a job can be stopped.

The device is an argument: with "cpu" the very same steps run one by one, and can be checked where there is no GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from app.training import pieces
from app.training.cuda_recording import Recorder, Replay
from app.training.cuda_rows import Resident, Source, Streamed, budget, tensor
from app.training.cuda_steps import Block, Steps, losses, row_bytes
from app.training.engine import RUNNING, Report
from app.training.errors import DeviceFailed, DeviceFull
from app.training.problem import Parameters, Rows
from app.training.setting import Setting

BLOCK_BYTES = 256 << 20
"""Of a block of rows, their answers and outputs, unless one minibatch is larger."""
ROW_BYTES = 64
"""Of a row's answer, its place in the order, and what it takes to draw that."""
MEASURED_ENTRIES = 32_000_000
"""Features that are widened and measured at a time: 128 MB."""
FULL = "out of memory", "ALLOC_FAILED"
"""What errors of CUDA and of cuBLAS say where the device has no memory left."""
RECORDED_STEPS = 1000
"""5000 to 15 000 kernels: up to 0.2 s to record, and less than that to run."""


class CudaEngine:
    """Minibatch SGD on one torch device.

    `budget_bytes` is what rows may take there, by default most of its free memory.
    """

    def __init__(self, setting: Setting, device: str = "cuda", budget_bytes: float | None = None) -> None:
        self._setting, self._batch, self._count = setting, setting.batch_size, setting.problem.train.count
        self._device = torch.device(device)
        self._paged = setting.problem.train.pages is not None
        self._recordings: dict[tuple[int, int], Replay] = {}
        step_bytes = self._batch * row_bytes(setting.problem.train.features, setting.problem.outputs)
        others = ROW_BYTES * self._count + 2 * max(BLOCK_BYTES, step_bytes)
        with faults_told():
            left = budget(self._device, others) if budget_bytes is None else budget_bytes
            # Rows that lie on the device touch no pages of the host.
            steps = RECORDED_STEPS if setting.problem.train.X.nbytes <= left else pieces.pace(RECORDED_STEPS, setting)
            self.pace = max(1, min(steps, BLOCK_BYTES // step_bytes))
            self._height = min(self.pace * self._batch, self._count)
            self._lay_out_rows(left)
            self._block = Block(setting, self._height, self._device)
            self._steps = Steps(setting, self._block, self._device)
            self._lay_out_epoch()

    def _lay_out_rows(self, left: float) -> None:
        problem = self._setting.problem
        splits = [problem.train] if problem.validation is None else [problem.train, problem.validation]
        widest = max(problem.train.features, problem.outputs)
        self._measured = min(self._height, max(1, MEASURED_ENTRIES // widest))
        sources: list[Source] = []
        for rows in splits:
            fits = rows.X.nbytes <= left
            left -= rows.X.nbytes if fits else 0
            height = self._measured if sources else self._height  # rows that validate come to be measured alone
            sources.append(Resident(rows, self._device) if fits else Streamed(rows, self._device, height))
        self._sources = [sources[0], *sources]
        self._scales = [splits[0].scale, *(rows.scale for rows in splits)]
        answers = [self._answers(rows) for rows in splits]
        self._y = [answers[0], *answers]

    def _answers(self, rows: Rows) -> torch.Tensor:
        y = tensor(rows.y)
        return (y.long() if y.ndim == 1 else y).to(self._device)

    def _lay_out_epoch(self) -> None:
        setting, device = self._setting, self._device
        steps = -(-self._count // self._batch)
        self._put(self._steps.theta, setting.start)
        if setting.velocity is not None:
            self._put(self._steps.velocity, setting.velocity)
        self._totals = torch.zeros(3, 2, dtype=torch.float64, device=device)
        self._order, self._host_order = torch.arange(self._count, device=device), np.arange(0)
        self._rates = torch.zeros(steps, device=device)
        self._given_rates = torch.zeros(steps, pin_memory=device.type == "cuda")
        weights = setting.class_weights
        self._class_weights = None if weights is None else torch.from_numpy(weights.copy()).to(device)
        self._recorder = Recorder(device, [self._steps.theta, self._steps.velocity])

    def _put(self, theta: torch.Tensor, parameters: Parameters) -> None:
        d = self._block.features
        theta[:d].copy_(torch.from_numpy(parameters.weights.astype(np.float32)))
        theta[d].copy_(torch.from_numpy(parameters.bias.astype(np.float32)))

    def begin(self, epoch: int) -> None:
        """See `Engine`."""
        with faults_told():
            self._totals.zero_()
            self._draw_order(epoch)

    def _draw_order(self, epoch: int) -> None:
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
        if first == 0:
            # The copy of an epoch before is over, since the report of that epoch was waited for.
            self._given_rates.numpy()[:] = rates
            self._rates.copy_(self._given_rates, non_blocking=True)
        for start in range(first, last, self.pace):
            self._descend(start, min(start + self.pace, last))

    def _descend(self, first: int, last: int) -> None:
        """The steps first…last−1, which are a block."""
        rows = slice(first * self._batch, min(last * self._batch, self._count))
        whole, rest = divmod(rows.stop - rows.start, self._batch)
        with faults_told(), products(self._setting.options.tf32):
            y = self._lay_ready(rows, first, last)
            if (whole, rest) not in self._recordings:
                steps, few = (partial(self._steps.take, number, rest) for number in (whole, min(whole, 1)))
                self._recordings[whole, rest] = self._recorder.recorded(steps, few)
            self._recordings[whole, rest]()
            if self._setting.options.train_metrics == "running":
                for start in range(0, len(y), self._measured):
                    part = slice(start, min(start + self._measured, len(y)))
                    self._add_up(RUNNING, self._block.outputs[part], y[part])

    def _lay_ready(self, rows: slice, first: int, last: int) -> torch.Tensor:
        """Fill the block; the answers of its rows."""
        block, chosen = self._block, self._order[rows]
        features = block.X[: len(chosen), : block.features]
        self._sources[0].fill(features, chosen, self._host_order[rows])
        if self._scales[0] != 1:
            features.mul_(self._scales[0])
        y = self._y[0].index_select(0, chosen)
        block.rates[: last - first].copy_(self._rates[first:last])
        block.answer(y, self._weights_of(y, self._rates[first:last]))
        return y

    def _weights_of(self, y: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
        """What each row's slope counts in its step, (m,)."""
        count = len(y)
        weights = torch.ones(count, device=self._device)
        if self._steps.contain_rates:
            weights.copy_(rates.repeat_interleave(self._batch)[:count])
        if self._setting.options.gradient_reduction != "sum":
            whole = count - count % self._batch
            weights[:whole].div_(self._batch)
            weights[whole:].div_(max(1, count - whole))
        if self._setting.options.loss == "mse":
            weights.mul_(2)
        return weights if self._class_weights is None else weights.mul_(self._class_weights[y])

    def measure(self, split: int, start: int, stop: int) -> None:
        """See `Engine`."""
        d, scale = self._block.features, self._scales[split]
        weights, bias = self._steps.theta[:d], self._steps.theta[d]
        with faults_told(), products(self._setting.options.tf32):
            for first in range(start, stop, self._measured):
                last = min(first + self._measured, stop)
                X, y = self._sources[split].between(first, last).float(), self._y[split][first:last]
                z = torch.addmm(bias, X, weights, alpha=scale)
                self._add_up(split, torch.log_softmax(z, 1) if self._block.is_softmax else z - y, y)

    def _add_up(self, split: int, outputs: torch.Tensor, y: torch.Tensor) -> None:
        """Add the losses of log-probabilities, and the hits, or the losses of residuals to the totals."""
        if not self._block.is_softmax:
            self._totals[split, 0] += losses(str(self._setting.options.loss), outputs).sum()
            return
        at_label = outputs.gather(1, y[:, None])[:, 0]
        if self._class_weights is not None:
            at_label = at_label * self._class_weights[y]
        self._totals[split, 0] -= at_label.sum(dtype=torch.float64)
        self._totals[split, 1] += (outputs.argmax(1) == y).sum()

    def report(self) -> Report:
        """See `Engine`."""
        moving, steps = bool(self._setting.options.momentum), self._steps
        tensors = [steps.theta, *([steps.velocity] if moving else [])]
        with faults_told():
            packed = torch.cat([self._totals.ravel(), *(tensor.ravel().double() for tensor in tensors)]).cpu().numpy()
        parameters = [self._parameters(block) for block in np.split(packed[6:], len(tensors))]
        return Report(packed[:6].reshape(3, 2), parameters[0], parameters[1] if moving else None)

    def _parameters(self, packed: NDArray[np.float64]) -> Parameters:
        d, theta = self._block.features, packed.reshape(self._steps.theta.shape).astype(np.float32)
        return Parameters(theta[:d].copy(), theta[d].copy())


@contextmanager
def faults_told() -> Iterator[None]:
    """Say in our own words that the device's memory is full, or that it has failed.

    Only torch's own allocator says so by an error of its own: CUDA's and cuBLAS's have it in their text.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in FULL):
            raise DeviceFull("the device's memory does not hold the training") from error
        if isinstance(error, torch.AcceleratorError):
            raise DeviceFailed("the device has failed") from error
        raise


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
