"""The steps of the CUDA engine on a block of rows that lies ready in the epoch's order, few kernels to a step.

    X        (h, D)  features times their scale, then 1 for the bias, then 0; D a multiple of 8
    theta    (D, k)  W, then b, then 0          velocity likewise
    answers  (h, k)  linear: the targets. softmax: −c·onehot(label), c being the row's weight in the step
    weights  (h, 1)  linear: c
    outputs  (h, k)  left behind by the steps: residuals, or log-probabilities, from which losses and hits are summed
                     once for the whole block

A plain step of softmax regression is five kernels: the logits, their log-softmax p, its backward pass, which for
answers a is a − eᵖ·Σa = c·(eᵖ − onehot), the gradient, and its subtraction from theta; c contains the rate. One of
linear regression is five too: a copy of the targets, the product that they are subtracted from, the slopes, and the
same two. Momentum adds none, penalties and Nesterov's step up to ten. Steps lie at fixed places of the block, so that
they can be recorded.
"""

import torch

from app.training.setting import Setting

ALIGNED = 8
"""Numbers that a row of the block is a multiple of: 32 bytes, with which cuBLAS has its faster kernels."""


def row_bytes(features: int, outputs: int) -> int:
    """What the block holds for a row."""
    return 4 * (width_of(features) + 2 * outputs + 1)


def width_of(features: int) -> int:
    """Numbers of a row of X: the features, 1, and padding."""
    return -(-(features + 1) // ALIGNED) * ALIGNED


class Block:
    """What the steps read and write; none of it ever moves."""

    def __init__(self, setting: Setting, height: int, device: torch.device) -> None:
        d, k = setting.start.weights.shape
        self.features, self.is_softmax = d, setting.options.model == "softmax"
        self.X = torch.zeros(height, width_of(d), device=device)
        self.X[:, d] = 1
        self.answers, self.outputs = torch.zeros(2, height, k, device=device)
        self.weights = torch.zeros(height, 1, device=device)
        self.rates = torch.zeros(-(-height // setting.batch_size), device=device)

    def answer(self, y: torch.Tensor, weights: torch.Tensor) -> None:
        """Take the answers of the first rows, and their weights (m,) in the steps."""
        answers = self.answers[: len(y)]
        if self.is_softmax:
            answers.zero_().scatter_(1, y[:, None], -weights[:, None])
        else:
            answers.copy_(y)
            self.weights[: len(y)].copy_(weights[:, None])


class Steps:
    """Minibatch steps on a block."""

    def __init__(self, setting: Setting, block: Block, device: torch.device) -> None:
        self._setting, self._block, self._batch = setting, block, setting.batch_size
        d, k = setting.start.weights.shape
        width = block.X.shape[1]
        self.theta, self.velocity, self._gradient = torch.zeros(3, width, k, device=device)
        self._decay = torch.zeros(width, 1, device=device)
        self._decay[:d, 0] = torch.from_numpy(setting.decay.copy()).to(device)
        self._z, self._slope = torch.zeros(2, self._batch, k, device=device)
        self._momentum = setting.options.momentum or 0.0
        self.contain_rates = not self._momentum and not setting.options.l2
        """Whether the rows' weights contain the learning rate."""

    def take(self, whole: int, rest: int) -> None:
        """So many whole minibatches, and one of `rest` rows if there are any."""
        for number in range(whole + bool(rest)):
            first = number * self._batch
            rows = slice(first, first + (self._batch if number < whole else rest))
            self._move(self._block.X[rows], self._slopes(rows), self._block.rates[number : number + 1])

    def _slopes(self, rows: slice) -> torch.Tensor:
        """The slopes of the loss at the rows' outputs, times the rows' weights."""
        block, count, aten = self._block, rows.stop - rows.start, torch.ops.aten
        slope: torch.Tensor = self._slope[:count]
        X, answers, outputs, weights = (held[rows] for held in (block.X, block.answers, block.outputs, block.weights))
        if block.is_softmax:  # torch has no public name for these two with a given output
            z = self._product(X, self._z[:count])
            aten._log_softmax.out(z, 1, False, out=outputs)  # noqa: SLF001
            aten._log_softmax_backward_data.out(answers, outputs, 1, torch.float32, out=slope)  # noqa: SLF001
            return slope
        if self._setting.options.tf32:
            self._product(X, outputs).sub_(answers)
        else:
            torch.addmm(answers, X, self.theta, beta=-1, out=outputs)
        loss = self._setting.options.loss
        if loss == "absolute":
            return torch.sign(outputs, out=slope).mul_(weights)
        if loss == "huber":
            return torch.clamp(outputs, -1, 1, out=slope).mul_(weights)
        return torch.mul(outputs, weights, out=slope)

    def _product(self, X: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Outputs of rows. TF32 would round the bias as well, which is then added in float32."""
        if self._setting.options.tf32:
            d = self._block.features
            return torch.addmm(self.theta[d], X[:, :d], self.theta[:d], out=out)
        return torch.mm(X, self.theta, out=out)

    def _move(self, X: torch.Tensor, slope: torch.Tensor, rate: torch.Tensor) -> None:
        """The step of `kernels.step_span`."""
        if self.contain_rates:  # a product that adds to theta piece by piece would lose what is small beside it
            self.theta.sub_(torch.mm(X.T, slope, out=self._gradient))
        elif self._setting.options.nesterov:
            self._decayed(torch.mm(X.T, slope, out=self._gradient))
            self.velocity.mul_(self._momentum).add_(self._gradient)
            self.theta.addcmul_(self._gradient, rate, value=-1)
            self.theta.addcmul_(self.velocity, rate, value=-self._momentum)
        else:
            self._decayed(self.velocity.addmm_(X.T, slope, beta=self._momentum))
            self.theta.addcmul_(self.velocity, rate, value=-1)
        if self._setting.threshold:
            weights = self.theta[: self._block.features]
            size = (weights.abs() - rate * self._setting.threshold).relu_()
            weights.copy_(size.copysign_(weights))

    def _decayed(self, gradient: torch.Tensor) -> None:
        """Add the slope of the l2 penalty."""
        if self._setting.options.l2:
            gradient.addcmul_(self.theta, self._decay)


def losses(loss: str, residuals: torch.Tensor) -> torch.Tensor:
    """Values, in float64, of a loss of the residuals ŷ − y, (m, k) (see `losses`)."""
    wide = residuals.double()
    if loss == "absolute":
        return wide.abs()
    if loss == "huber":
        slope = wide.clamp(-1, 1)
        return slope * (wide - 0.5 * slope)
    return wide * wide if loss == "mse" else 0.5 * wide * wide
