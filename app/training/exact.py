"""The exact solver: linear least squares from the normal equations, in float64.

    minimise  c/2n · ‖X̃w − y‖² + ½ l2 ‖w‖²      c = 1 for squared, 2 for mse
    (C + μI) w = Xᵀy/n,   b = ȳ − x̄·w            C the covariance of the features, μ = l2 / c

Features are centred before they are multiplied and scaled to variance 1 before C is factored, so that neither an
offset nor a unit costs digits. Cholesky, and one step of refinement on the residuals, which makes up for the
squared condition of C. Where columns depend on each other the solution of least norm (of the columns scaled to
variance 1) comes from the eigenvectors of C.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.training.epoch import PAUSE, Epoch, Pause
from app.training.learning_rate import CURVATURES
from app.training.objective import measured, packed
from app.training.problem import Parameters, Rows
from app.training.setting import Setting

BLOCK_ENTRIES = 100_000
"""Features that are widened at a time: 0.8 MB in float64, which the caches hold."""
DEPENDENT = 1e-10
"""A pivot below this share of a column's variance: the column depends on those before it."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Means, and the covariances of the features among themselves and with the targets.

    Shapes:  mean (d,), target_mean (k,), covariance (d, d), cross (d, k)
    """

    mean: Matrix
    target_mean: Matrix
    covariance: Matrix
    cross: Matrix


def centred(rows: Rows, shift: Matrix) -> Iterator[tuple[slice, Matrix]]:
    """Features and targets in float64, [X | y] − shift, block by block in one buffer."""
    d, width = rows.features, rows.features + rows.y.shape[1]
    buffer = np.empty((min(rows.count, max(1, BLOCK_ENTRIES // width)), width))
    for start in range(0, rows.count, len(buffer)):
        chosen = slice(start, min(start + len(buffer), rows.count))
        block = buffer[: chosen.stop - start]
        X = rows.X[chosen] if rows.scale == 1 else rows.X[chosen] * rows.scale
        np.subtract(X, shift[:d], out=block[:, :d])
        np.subtract(rows.y[chosen], shift[d:], out=block[:, d:])
        yield chosen, block
        rows.passed(len(block))


def moments(rows: Rows) -> Generator[Pause, None, Moments]:
    """Those of all rows, in one pass.

    All is shifted by the mean of a thousand rows, near which nothing cancels.
    """
    d = rows.features
    drawn = rows.draw(max(1, rows.count // 1000))
    sampled = rows.taken(drawn).mean(axis=0, dtype=np.float64), rows.y[drawn].mean(axis=0, dtype=np.float64)
    shift = np.concatenate([sampled[0] * rows.scale, sampled[1]])
    total, products = np.zeros(len(shift)), np.zeros((len(shift), len(shift)))
    for chosen, block in centred(rows, shift):
        total += np.ones(len(block)) @ block
        products += block.T @ block
        if _is_time_to_pause(chosen):
            yield PAUSE
    off = total / rows.count
    covariance = products / rows.count - np.outer(off, off)
    mean = shift + off
    return Moments(mean[:d], mean[d:], covariance[:d, :d], covariance[:d, d:])


def _is_time_to_pause(chosen: slice) -> bool:
    """About once in 50 000 rows."""
    return bool(chosen.start // 50_000 != chosen.stop // 50_000)


class NormalEquations:
    """(C + μI) w = r, factored once."""

    def __init__(self, covariance: Matrix, ridge: float) -> None:
        system = covariance + ridge * np.eye(len(covariance))
        diagonal = np.diag(system)
        self._scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
        self._system = system * self._scale[:, None] * self._scale
        self._factor = _cholesky(self._system)
        if self._factor is None:
            values, vectors = np.linalg.eigh(self._system)
            kept = values > DEPENDENT * max(float(values[-1]), 1e-300)
            self._values, self._vectors = values[kept], vectors[:, kept]
            self._null = vectors[:, ~kept]

    def solve(self, right: Matrix) -> Matrix:
        """The solution, of least norm where there are many. Shapes: (d, k) → (d, k)."""
        scaled = right * self._scale[:, None]
        if self._factor is None:
            solution = self._vectors @ ((self._vectors.T @ scaled) / self._values[:, None])
            return np.asarray(self._scale[:, None] * solution)
        # LAPACK's triangular solvers are not NumPy's; the factor is small, and a general solve is as exact.
        return np.asarray(self._scale[:, None] * np.linalg.solve(self._factor.T, np.linalg.solve(self._factor, scaled)))

    @property
    def null_space(self) -> Matrix:
        """A basis of the directions in which w is not determined. Shapes: (d, r)."""
        if self._factor is not None:
            return np.empty((len(self._scale), 0))
        return np.asarray(np.where(self._scale > 0, self._scale, 1.0)[:, None] * self._null)

    @property
    def rank(self) -> int:
        """The number of columns that are left of those that depend on each other."""
        return len(self._scale) if self._factor is not None else len(self._values)

    def determined(self, functionals: Matrix) -> NDArray[np.bool_]:
        """Which f·w are the same in every solution: those without a part in the null space. Shapes: (m, d) → (m,)."""
        if self._factor is not None:
            return np.ones(len(functionals), np.bool_)
        scaled = functionals * self._scale
        parts = np.linalg.norm(scaled @ self._null, axis=1)
        is_touched = (functionals[:, self._scale == 0] != 0).any(axis=1)
        return np.asarray((parts <= 1e-6 * np.linalg.norm(scaled, axis=1)) & ~is_touched)


def _cholesky(system: Matrix) -> Matrix | None:
    """The lower factor of a matrix with a unit diagonal, or None where a pivot all but vanishes."""
    try:
        factor = np.asarray(np.linalg.cholesky(system), np.float64)
    except np.linalg.LinAlgError:
        return None
    return factor if float(np.diag(factor).min()) ** 2 > DEPENDENT else None


def least_squares(rows: Rows, ridge: float) -> Generator[Pause, None, Parameters]:
    """The optimum, in float64."""
    found = yield from moments(rows)
    yield PAUSE  # to factor the covariances of many features takes long
    equations = NormalEquations(found.covariance, ridge)
    weights = equations.solve(found.cross)
    slope, bias_slope = np.zeros_like(weights), np.zeros(weights.shape[1])
    for chosen, block in centred(rows, np.concatenate([found.mean, found.target_mean])):
        X, residuals = block[:, : rows.features], block[:, rows.features :]
        residuals -= X @ weights
        slope += X.T @ residuals
        bias_slope += residuals.sum(axis=0)
        if _is_time_to_pause(chosen):
            yield PAUSE
    weights += equations.solve(slope / rows.count - ridge * weights)
    bias = found.target_mean + bias_slope / rows.count - found.mean @ weights
    return Parameters(weights, bias)


def solve(setting: Setting) -> Iterator[Epoch | Pause]:
    """One epoch: the optimum."""
    options, problem = setting.options, setting.problem
    ridge = options.l2 / CURVATURES[str(options.loss)]
    parameters = yield from least_squares(problem.train, ridge)
    train = yield from measured(setting, problem.train, packed(parameters))
    validation_loss = None
    if problem.validation is not None:
        validation = yield from measured(setting, problem.validation, packed(parameters))
        validation_loss = validation.loss
    yield Epoch(1, train.loss, None, validation_loss, None, 1.0, setting.state(1, parameters), options)
