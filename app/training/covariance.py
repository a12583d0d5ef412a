"""The covariance of a linear model's coefficients: what standard errors and prediction intervals are made of.

    G = X̃ᵀX̃,  X̃ = [X, 1] as trained       C = G⁺
    σ² = Σ (y − ŷ)² / (n − rank)           ŷ of the parameters as they are, at the optimum or not
    θ* − θ = C X̃ᵀ(y − ŷ)                   what separates them from those of least squares
    Cov(Aθ*) = σ² A C Aᵀ                   A makes raw coefficients of trained ones

Coefficients of columns that depend on each other are not determined, and have no standard error; those of the
other columns do. Nor is the prediction of a row determined that does not keep to what holds among the columns of all
training rows: (x − x̄)ᵀ N ≠ 0, N a basis of the raw weights that change no prediction of a training row, up to the bias.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.training.exact import NormalEquations
from app.training.problem import Parameters, Rows

Matrix = NDArray[np.float64]
Fold = Callable[[Matrix, Matrix], tuple[Matrix, Matrix]]
"""Raw weights (d, m) and bias (m,) of trained ones, a linear map."""

MOST_COEFFICIENTS = 1000
"""Rows of the matrix that is inverted, and kept with the model: 8 MB."""
MOST_PRODUCTS = 1e11
"""n · p²: about three seconds of one thread, no more than the solvers that end at the optimum have taken."""
MOST_PRODUCTS_AFTER_STEPS = 2e10
"""Some steps take less than a second of all, and end at the optimum by chance only."""
BLOCK_ENTRIES = 200_000
CANCELLED = 1e-6
"""An error of less than this share of what its terms would have without their covariances is that of rounding."""
CONSTANT = 1e-13
"""A variance of less than this share of the mean square is that of rounding."""


class Refused(Exception):
    """There is none, for the reason that is the message."""


@dataclass(frozen=True, slots=True)
class Covariance:
    """Of p = d + 1 coefficients, the bias last, in raw units: variances · inverse_gram for each of k targets.

    inverse_gram      A C Aᵀ, (p, p)
    variances         σ², (k,)
    errors            standard errors, (p, k); NaN where a coefficient is not determined
    degrees           of freedom, n − rank
    step              θ* − θ as trained, (p, k)
    distance          the farthest that a raw coefficient is from least squares, in its standard errors
    to_least_squares  A (θ* − θ), what separates raw coefficients from those of least squares, (p, k)
    null_space        N, (d, r)
    parts             Σ_j w_j² · mean of x_j², what the columns make of ŷ, were each alone, (k,)
    """

    inverse_gram: Matrix
    variances: Matrix
    errors: Matrix
    degrees: int
    step: Matrix
    distance: float
    to_least_squares: Matrix
    null_space: Matrix
    parts: Matrix

    @classmethod
    def of(cls, rows: Rows, parameters: Parameters, fold: Fold) -> Self:
        """That of parameters (d, k), (k,), as trained on the rows; `fold` is A.

        Raises:  Refused where there are no more rows than coefficients
        """
        gram, slopes, squares = _sums(rows, parameters)
        equations = NormalEquations(gram, 0.0)
        degrees = rows.count - equations.rank
        if degrees <= 0:
            raise Refused(f"{rows.count} rows leave no degree of freedom beside {equations.rank} coefficients")
        to_raw = raw_map(fold, rows.features)
        inverse = equations.solve(np.eye(len(gram)))
        inverse_gram = to_raw @ inverse @ to_raw.T
        variances = squares / degrees
        errors = np.sqrt(np.outer(np.maximum(np.diag(inverse_gram), 0.0), variances))
        step = equations.solve(slopes)
        to_least_squares = to_raw @ step
        least = CANCELLED * np.sqrt(np.outer(to_raw**2 @ np.maximum(np.diag(inverse), 0.0), variances))
        distance = _distance(to_least_squares, np.maximum(errors, least))
        errors[~equations.determined(to_raw)] = np.nan
        parts = np.diag(gram)[:-1] / rows.count @ parameters.weights.astype(np.float64) ** 2
        null_space = _null_space(gram, to_raw)
        return cls(inverse_gram, variances, errors, degrees, step, distance, to_least_squares, null_space, parts)


def check_size(rows: Rows, coefficients: int, after_steps: bool = False) -> None:
    """So many coefficients must be worth their covariances.

    Raises:  Refused
    """
    many = f"{coefficients} coefficients over {rows.count} rows are too many to find their covariances"
    products = rows.count * float(coefficients) ** 2
    if coefficients > MOST_COEFFICIENTS or products > MOST_PRODUCTS:
        raise Refused(many)
    if after_steps and products > MOST_PRODUCTS_AFTER_STEPS:
        raise Refused(f"{many} after a training by steps; use the solver exact or lbfgs")


def raw_map(fold: Fold, features: int) -> Matrix:
    """A, the bias last. Shapes: (d + 1, d + 1)."""
    identity = np.eye(features + 1)
    return np.vstack(fold(identity[:features], identity[features]))


def blocks(rows: Rows) -> Iterator[tuple[slice, Matrix]]:
    """X̃ in float64, block by block, each with its place. Shapes: (m, d + 1)."""
    for chosen, X in rows.blocks(BLOCK_ENTRIES):
        yield chosen, np.column_stack([X.astype(np.float64) * rows.scale, np.ones(len(X))])


def _sums(rows: Rows, parameters: Parameters) -> tuple[Matrix, Matrix, Matrix]:
    """X̃ᵀX̃, X̃ᵀr and Σr², r = y − ŷ. Shapes: (d + 1, d + 1), (d + 1, k), (k,)."""
    d, k = parameters.weights.shape
    gram, slopes, squares = np.zeros((d + 1, d + 1)), np.zeros((d + 1, k)), np.zeros(k)
    for chosen, X in blocks(rows):
        residuals: NDArray[Any] = rows.y[chosen] - X[:, :-1] @ parameters.weights - parameters.bias
        gram += X.T @ X
        slopes += X.T @ residuals
        squares += (residuals**2).sum(axis=0)
    return gram, slopes, squares


def _null_space(gram: Matrix, to_raw: Matrix) -> Matrix:
    """N of X̃ᵀX̃: the weight of each column that is constant, and the null space of the covariance of the others.

    Not of X̃ᵀX̃ itself, in which a constant column, whose unit may be any, would be mixed with others that are dependent.

    Shapes:  (d + 1, d + 1), (d + 1, d + 1) → (d, r)
    """
    mean = gram[:-1, -1] / gram[-1, -1]
    squares = np.diag(gram)[:-1] / gram[-1, -1]
    covariance = gram[:-1, :-1] / gram[-1, -1] - np.outer(mean, mean)
    varying = np.flatnonzero(np.diag(covariance) > CONSTANT * squares)
    dependent = NormalEquations(covariance[np.ix_(varying, varying)], 0.0).null_space
    among = np.zeros((len(mean), dependent.shape[1]))
    among[varying] = dependent
    alone = np.delete(np.eye(len(mean)), varying, axis=1)
    found = to_raw[:-1, :-1] @ np.hstack([alone, among])
    return np.ascontiguousarray(found[:, found.any(axis=0)])


def _distance(step: Matrix, errors: Matrix) -> float:
    """The largest step, in errors; one that is no number counts as the farthest there is."""
    farthest = float(np.finfo(np.float64).max)
    with np.errstate(over="ignore"):
        ratios = np.abs(step) / np.maximum(errors, 1e-300)
    return float(np.nan_to_num(ratios, nan=farthest, posinf=farthest).max())
