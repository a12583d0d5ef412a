"""A learning rate that is safe for the data at hand, from the smoothness of the loss.

    𝓛 = c · (λ + R²/m) + l2        λ = largest eigenvalue of X̃ᵀX̃/n,  R² = max ‖x̃ᵢ‖²,  x̃ = (x, 1)

    rate = 1 / 𝓛,  divided by m where gradients are summed

With momentum β a step is stable up to 2s/(cλ + l2) where there is no noise, s = 1 + β, or (1 + β)/(1 + 2β) for
Nesterov's step, and noise adds up over 1/(1 − β) steps:  𝓛 = (c·λ + l2)/s + c · R²/(m(1 − β)). Rows count with the
weight of their class.

Without momentum 𝓛 is the expected smoothness of a minibatch of m rows (Gower et al., "SGD: General Analysis and
Improved Rates", 2019). On a quadratic with Hessian H a minibatch's H_B has E[H_B²] ⪯ 𝓛H, so that the mean squared
distance from the optimum shrinks for every rate below 2/𝓛: half of that is taken.

The slopes of cross_entropy are bounded, so that one far row throws a step back but never off: there R² is the
mean of ‖x̃ᵢ‖² weighted by itself, Σ‖x̃ᵢ‖⁴ / Σ‖x̃ᵢ‖², which a few far rows move less.

The curvature c bounds the second derivative of the loss in its outputs: 1 for squared, 2 for mse, ½ for
cross_entropy (Böhning, 1992). The absolute loss has no curvature; there c = 6 / (mean distance from the median of
the three quarters of targets nearest to it), so that its steps, which never shrink, are those of squared at a sixth
of that distance, whatever a few targets of 1e9 are. The huber loss is the absolute one for targets far apart: there c
is the smaller of the two.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.training.hyperparameters import Hyperparameters
from app.training.problem import Rows

CURVATURES = {"squared": 1.0, "mse": 2.0, "cross_entropy": 0.5}

ABSOLUTE, NEAREST = 6.0, 0.75
"""Of the absolute loss: its curvature times a distance, and the share of the targets that this is taken from."""

Weights = NDArray[np.float32] | None
"""Those of the classes, (k,); None where all are 1."""

SAMPLED_ENTRIES = 2_000_000
"""Entries of X that the power iteration sees: rows drawn from everywhere, 16 MB, about 1 ms an iteration."""
ITERATIONS = 100
TOLERANCE = 1e-3
BLOCK_ENTRIES = 1_000_000


def safe_rate(options: Hyperparameters, rows: Rows, weights: Weights = None) -> float:
    """The rate of the module's formula, for options without open defaults."""
    batch = min(options.batch_size or rows.count, rows.count)
    of_rows = None if weights is None else weights[rows.y]
    c, momentum = curvature(options, rows), options.momentum or 0.0
    steady = c * largest_eigenvalue(rows, of_rows) + options.l2
    row = typical_row(rows, of_rows) if options.loss == "cross_entropy" else largest_row(rows, of_rows)
    noise = c * row / batch
    stable = (1 + momentum) / (1 + 2 * momentum if options.nesterov else 1)
    rate = 1 / (steady / stable + noise / (1 - momentum))
    return rate / batch if options.gradient_reduction == "sum" else rate


def smaller_rate(options: Hyperparameters, rows: Rows, failed: float, weights: Weights = None) -> float:
    """A rate to try after `failed` diverged: the safe one, at most a quarter of it; two digits."""
    rate = min(safe_rate(options, rows, weights), failed / 4)
    digit = 10.0 ** (np.floor(np.log10(rate)) - 1)
    return float(f"{np.floor(rate / digit) * digit:.2g}")


def curvature(options: Hyperparameters, rows: Rows) -> float:
    """Bound c of the second derivative of the loss in its outputs."""
    if str(options.loss) in CURVATURES:
        return CURVATURES[str(options.loss)]
    distance = spread(rows.y)
    bounded = ABSOLUTE / distance if distance > 0 else 1.0
    return min(bounded, 1.0) if options.loss == "huber" else bounded


def spread(y: NDArray[Any]) -> float:
    """Mean distance from the median of the targets nearest to it; of all where those are equal. Shapes: (n, k)."""
    distances = np.abs(y - np.median(y, axis=0)).ravel()
    count = max(1, int(NEAREST * len(distances)))
    nearest = float(np.partition(distances, count - 1)[:count].mean(dtype=np.float64))
    return nearest or float(distances.mean(dtype=np.float64))


def largest_row(rows: Rows, weights: Weights = None) -> float:
    """R² = max ‖xᵢ‖² + 1, over all rows."""
    largest = 0.0
    for chosen, X in _blocks(rows):
        squares = 1 + rows.scale**2 * np.einsum("ij,ij->i", X, X)
        largest = max(largest, float((squares if weights is None else squares * weights[chosen]).max()))
    return largest


def typical_row(rows: Rows, weights: Weights = None) -> float:
    """R² = Σ ‖xᵢ‖⁴ / Σ ‖xᵢ‖², with ‖x‖² + 1: the row norm that a step along a random row meets."""
    squared = fourth = 0.0
    for chosen, X in _blocks(rows):
        squares = 1 + rows.scale**2 * np.einsum("ij,ij->i", X, X, dtype=np.float64)
        weight = 1.0 if weights is None else weights[chosen].astype(np.float64)
        squared += float((squares * weight).sum())
        fourth += float(((squares * weight) ** 2).sum())
    return fourth / squared


def largest_eigenvalue(rows: Rows, weights: Weights = None) -> float:
    """λ of X̃ᵀX̃/n by power iteration on a sample of rows: the Rayleigh quotient, once it is still.

    A far row that is left out cannot make a step unstable, since R²/m bounds what it adds; rows that are alike are in
    the sample as often as they are in the data.
    """
    drawn = rows.draw(max(1, -(-rows.X.size // SAMPLED_ENTRIES)))
    X = rows.taken(drawn).astype(np.float64) * rows.scale
    roots = np.ones(len(X)) if weights is None else np.sqrt(weights[drawn], dtype=np.float64)
    v = np.random.default_rng(0).standard_normal(rows.features + 1)
    eigenvalue = 0.0
    for _ in range(ITERATIONS):
        v /= np.linalg.norm(v)
        response = (X @ v[:-1] + v[-1]) * roots
        before, eigenvalue = eigenvalue, float(response @ response) / len(X)
        if abs(eigenvalue - before) <= TOLERANCE * eigenvalue:
            break
        response *= roots
        v = np.append(response @ X, response.sum())
    return eigenvalue


def _blocks(rows: Rows) -> Iterator[tuple[slice, NDArray[Any]]]:
    """X block by block, in a type in which squares neither overflow nor round much."""
    for chosen, X in rows.blocks(BLOCK_ENTRIES):
        yield chosen, X.astype(np.float32 if X.dtype == np.uint8 else np.float64)
