"""Preconditioning: features whitened, so that every curvature is 1 and one learning rate suits all directions.

    z = (x − mean) · A,   A = Q (Λ + μ)^(−½),   C = Q Λ Qᵀ the covariance of the training features

C is scaled to a correlation matrix where nothing is penalised. Directions whose variance is below 1e-10 of the
largest are dropped: there the features are linearly dependent. With an l2 penalty μ = l2 / c, c being the
curvature of the loss: the penalty of direction i is then ½ l2/(λᵢ + μ) vᵢ², and all curvatures, data and
penalty together, are c at most. C then keeps the features' units, in which a direction of little variance may matter
as much as any; dropped are those that the penalty all but fixes, or whose variance is rounding. Rows count with the
weight of their class.

The targets of a linear model are centred too: y − ȳ, or y − their median where the loss is huber or absolute, whose
optimum lies amid most rows: beside a few targets of 1e9 float32 would round all others to the spacing of ȳ. `fold` puts
it all back, w = A v, b = β + ȳ − mean·w, in float64, since w may be large where features are nearly dependent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.training.paging import collected
from app.training.problem import Parameters, Problem, Rows

NEGLIGIBLE = 1e-10
"""Share of the largest variance, or of the penalty, below which a direction is none."""
BOUNDED = ("huber", "absolute")
"""Losses that rise no more than linearly, so that a far row pulls no harder than any other."""
BLOCK_ENTRIES = 1_000_000
PREFIX = "frame_"

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """The coordinates in which a preconditioned problem is trained.

    Shapes:  mean (d,), axes A (d, r) float64, decay (r,) = 1 / (λᵢ + μ), target_mean (k,), which may be the median
    """

    mean: Matrix
    axes: Matrix
    decay: Matrix
    target_mean: Matrix

    @classmethod
    def of(
        cls, rows: Rows, weights: NDArray[np.float32] | None, ridge: float, outputs: int, loss: str = "squared"
    ) -> Self:
        """The frame of training rows; `ridge` is the μ of the module, `weights` those of the rows, or None."""
        mean, covariance = moments(rows, weights)
        scale = np.ones_like(mean) if ridge else _inverse_roots(np.diag(covariance))
        values, vectors = np.linalg.eigh(covariance * scale[:, None] * scale)
        least = NEGLIGIBLE * max(values[-1], 1e-300)
        if ridge:
            least = max(NEGLIGIBLE * ridge, np.finfo(float).eps * len(values) * values[-1])
        kept = values > least
        target_mean = _middle(rows.y, loss) if rows.y.ndim == 2 else np.zeros(outputs)
        if not kept.any():
            # No feature varies: one direction stays for the shapes' sake, along which nothing is.
            return cls(mean, np.zeros((len(mean), 1)), np.ones(1), target_mean)
        decay = 1 / (values[kept] + ridge)
        axes = scale[:, None] * vectors[:, kept] * np.sqrt(decay)
        # In the order in which a state keeps it: a product's bits depend on the order in memory.
        return cls(mean, np.ascontiguousarray(axes), decay, target_mean)

    def problem(self, given: Problem) -> Problem:
        """The same problem in this frame."""
        validation = None if given.validation is None else self._rows(given.validation)
        start = None if given.start is None else self.unfold(given.start)
        return Problem(self._rows(given.train), validation, given.outputs, given.classes, start)

    def _rows(self, rows: Rows) -> Rows:
        # From here on the steps read Z: of a mapped X nothing need stay resident, however small it is.
        passing = replace(rows, memory_bytes=0)
        blocks = (((X - self.mean) @ self.axes).astype(np.float32) for _, X in _blocks(passing))
        Z = collected(blocks, (rows.count, self.axes.shape[1]), rows.memory_bytes)
        y = rows.y
        if y.ndim == 2:
            y = np.subtract(y, self.target_mean, out=np.empty_like(y), casting="same_kind")
        return Rows(Z, y, memory_bytes=rows.memory_bytes)

    def fold(self, parameters: Parameters) -> Parameters:
        """Parameters of this frame as they act on the features themselves."""
        weights = self.axes @ parameters.weights.astype(np.float64)
        return Parameters(weights, parameters.bias + self.target_mean - self.mean @ weights)

    def unfold(self, parameters: Parameters) -> Parameters:
        """Parameters that act on the features, as this frame has them; dropped directions are left out."""
        weights = np.linalg.pinv(self.axes) @ parameters.weights.astype(np.float64)
        bias = parameters.bias + self.mean @ parameters.weights - self.target_mean
        return Parameters(weights.astype(np.float32), bias.astype(np.float32))

    def to_arrays(self) -> dict[str, Matrix]:
        """The arrays that a state keeps."""
        return {PREFIX + name: array for name, array in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self | None:
        """The frame that a state keeps, if it does."""
        names = cls.__dataclass_fields__
        return cls(**{name: arrays[PREFIX + name] for name in names}) if PREFIX + "mean" in arrays else None


def moments(rows: Rows, weights: NDArray[np.float32] | None = None) -> tuple[Matrix, Matrix]:
    """Mean and covariance of the features in float64, rows weighted; in two passes, so that nothing cancels."""
    total = float(rows.count) if weights is None else float(weights.sum(dtype=np.float64))
    mean = np.zeros(rows.features)
    for chosen, X in _blocks(rows):
        mean += X.sum(axis=0) if weights is None else weights[chosen].astype(np.float64) @ X
    mean /= total
    covariance = np.zeros((rows.features, rows.features))
    for chosen, X in _blocks(rows):
        centred = X - mean
        if weights is not None:
            centred *= np.sqrt(weights[chosen, None].astype(np.float64))
        covariance += centred.T @ centred
    return mean, covariance / total


def _middle(y: NDArray[np.float32], loss: str) -> Matrix:
    """What the targets are centred by. Shapes: (n, k) → (k,). A median is the lower one, which lies amid rows."""
    if loss in BOUNDED:
        return np.quantile(y, 0.5, axis=0, method="lower").astype(np.float64)
    return np.asarray(y.mean(axis=0, dtype=np.float64))


def _inverse_roots(variances: Matrix) -> Matrix:
    constant = variances <= 0
    return np.where(constant, 1.0, 1 / np.sqrt(np.where(constant, 1.0, variances)))


def _blocks(rows: Rows) -> Iterator[tuple[slice, Matrix]]:
    for chosen, X in rows.blocks(BLOCK_ENTRIES):
        yield chosen, X.astype(np.float64) * rows.scale
