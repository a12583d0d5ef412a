"""The objective over all rows, with its gradient: 1/n Σ loss(xᵢW + b, yᵢ) + ½ Σ decayⱼ Wⱼ².

Tables of a moderate size are summed in float64, so that an optimum can be found to many digits. Larger data, and
pixels, go through float32 products in tiles, as in the large regime of SGD; their sums are float64.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.training import cost, tiled_kernels
from app.training.compilation import aligned
from app.training.epoch import PAUSE, Pause
from app.training.losses import CODES, CROSS_ENTROPY
from app.training.pieces import answers
from app.training.problem import Parameters, Rows
from app.training.setting import Setting
from app.training.team import Team, threads
from app.training.tiled import NO_GRADIENT, flat_size, given, part_of, scratch, views

Matrix = NDArray[np.float64]

PRECISE_ENTRIES = 4_000_000
"""Features up to which float64 is used."""
BLOCK_ENTRIES = 800_000
"""Features of a block that is summed in float64."""
TILED_ENTRIES = 4_000_000
"""Features of a block whose sums are float32, before they are added in float64: long enough to wake threads for."""
PAUSE_ENTRIES = 12_800_000
"""Features between two pauses."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Mean loss without penalties, share of hits, and the gradient of the mean loss, (d + 1, k), bias last."""

    loss: float
    accuracy: float
    gradient: Matrix


def row_slope(loss: str | None, mean: float) -> float:
    """What the slopes of the rows' losses are about, where they have this mean: √(2·loss), and 1 where that is most."""
    slope = math.sqrt(4 * mean if loss == "mse" else 2 * mean)
    return slope if loss in ("squared", "mse") else min(slope, 1.0)


def is_quick(rows: Rows) -> bool:
    """Whether float64 costs little."""
    return rows.X.dtype != np.uint8 and rows.X.size <= PRECISE_ENTRIES


class Objective:
    """The mean loss over the rows of one split; `precise` sums in float64, by default where that is quick.

    Shapes:  theta (d + 1, k) float64, bias last
    """

    def __init__(self, setting: Setting, rows: Rows, precise: bool | None = None) -> None:
        self._rows = rows
        self._loss = CODES[str(setting.options.loss)]
        self._targets, self._labels, self._shares = answers(rows, setting)
        self.precise = is_quick(rows) if precise is None else precise
        entries = BLOCK_ENTRIES if self.precise else TILED_ENTRIES
        self._block = min(rows.count, max(1, entries // rows.features))
        if not self.precise:
            self._lay_out_tiles(setting.problem.outputs)

    def _lay_out_tiles(self, outputs: int) -> None:
        features, count = self._rows.features, self._rows.count
        self._team = Team(cost.members(cost.Shape(features, outputs, self._block), threads()))
        are_classes = self._loss == CROSS_ENTROPY
        self._scratch = [scratch(features, outputs, count, are_classes) for _ in range(self._team.size)]
        self._given = given(self._rows.X, (self._targets, self._labels, self._shares))
        self._theta = aligned(flat_size(features, outputs))
        self._gradients = [aligned(self._theta.size) for _ in range(self._team.size)]
        self._sums = [aligned(1, 4).view(np.float64) for _ in range(self._team.size)]
        self._sequence = np.arange(self._block, dtype=np.int32)

    def at(self, theta: Matrix, gradient: bool = True) -> Generator[Pause, None, Measured]:
        """Loss, hits and gradient at theta."""
        sums, slopes = np.zeros(2), np.zeros(theta.shape)
        add = self._add_precise if self.precise else self._add
        pause = PAUSE_ENTRIES // (self._block * self._rows.features)
        for start in range(0, self._rows.count, self._block):
            add(theta, slice(start, min(start + self._block, self._rows.count)), sums, slopes if gradient else None)
            self._rows.passed(self._block)
            if not (start // self._block + 1) % max(1, pause):
                yield PAUSE
        loss, accuracy = sums / self._rows.count
        return Measured(float(loss), float(accuracy), slopes / self._rows.count)

    def _add(self, theta: Matrix, chosen: slice, sums: Matrix, slopes: Matrix | None) -> None:
        rows, k, count = self._rows, theta.shape[1], chosen.stop - chosen.start
        W, b = views(self._theta, rows.features, k)
        W[:, : rows.features], b[:] = theta[:-1].T, theta[-1]
        taken = part_of(self._given, chosen)
        model = W, b, np.float32(rows.scale), self._loss, k
        for own in self._sums:
            own.fill(0)

        def part(member: int) -> None:
            first, last = self._team.share(member, count)
            share = self._sequence, first, last, last
            gradient = NO_GRADIENT if slopes is None else self._gradients[member]
            tiled_kernels.differentiate(taken, share, model, self._scratch[member], gradient, self._sums[member])

        self._team.run(part)
        sums += np.sum(self._sums, axis=0)[0]
        if slopes is not None:
            for gradient in self._gradients:
                weights, bias = views(gradient, rows.features, k)
                slopes[:-1] += weights[:, : rows.features].T * rows.scale
                slopes[-1] += bias

    def _add_precise(self, theta: Matrix, chosen: slice, sums: Matrix, slopes: Matrix | None) -> None:
        X = self._rows.X[chosen].astype(np.float64) * self._rows.scale
        z = X @ theta[:-1] + theta[-1]
        if self._loss == CROSS_ENTROPY:
            sums += _cross_entropy(z, self._labels[chosen], self._shares)
        else:
            sums[0] += _residual_loss(z, self._targets[chosen], self._loss)
        if slopes is not None:
            slopes[:-1] += X.T @ z
            slopes[-1] += z.sum(axis=0)


def _cross_entropy(z: Matrix, labels: NDArray[np.int32], shares: NDArray[np.float32]) -> Matrix:
    """Logits z become slopes; the sums of losses and of hits."""
    hits = (z.argmax(axis=1) == labels).sum()
    z -= z.max(axis=1, keepdims=True)
    at_label = np.take_along_axis(z, labels[:, None], axis=1)[:, 0]
    np.exp(z, out=z)
    totals = z.sum(axis=1)
    weights = shares[labels].astype(np.float64)
    z *= (weights / totals)[:, None]
    z[np.arange(len(z)), labels] -= weights
    return np.array([float(weights @ (np.log(totals) - at_label)), float(hits)])


def _residual_loss(z: Matrix, targets: NDArray[np.float32], loss: int) -> float:
    """Predictions z become slopes; the sum of losses (see `losses`)."""
    z -= targets
    if loss == CODES["huber"]:
        slopes = np.clip(z, -1, 1)
        total = float((slopes * (z - 0.5 * slopes)).sum())
        z[:] = slopes
        return total
    if loss == CODES["absolute"]:
        total = float(np.abs(z).sum())
        np.sign(z, out=z)
        return total
    total = float((z * z).sum())
    if loss == CODES["mse"]:
        z *= 2
        return total
    return total / 2


def packed(parameters: Parameters) -> Matrix:
    """[W; b] in float64. Shape: (d + 1, k)."""
    return np.vstack([parameters.weights, parameters.bias]).astype(np.float64)


def unpacked(theta: Matrix) -> Parameters:
    """W and b, copies in float64."""
    return Parameters(theta[:-1].copy(), theta[-1].copy())


def measured(setting: Setting, rows: Rows, theta: Matrix) -> Generator[Pause, None, Measured]:
    """Loss and hits of a split, without the gradient."""
    return Objective(setting, rows).at(theta, gradient=False)
