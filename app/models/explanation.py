"""Explanations of predictions: what each feature contributed, how sure the model is, what it has never seen."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.datasets.feature_encoding import ArrayFeature, CategoricalFeature
from app.errors import Unsupported
from app.models.predictor import Loaded
from app.models.statistics import Statistics, Uncertainty
from app.models.weights import Matrix
from app.training.distributions import quantile

_SLACK, _ROUNDING = 1e-6, 2.0**-23
"""Of a feature's range, and of its size: ranges were measured on the training matrix, which is single precision."""
_FINE = 2.0**-50
"""Of a number: a few times what double precision rounds off."""
_ASIDE = 1e-4
"""Of a row's offset and of the features' ranges: so far off the plane of the training rows counts as on it."""
_DIGITS = 17
"""With so many, a double is no other."""


def contribution_names(loaded: Loaded) -> list[str]:
    """What contributes: a column of the table, with all its levels, or one element of an array."""
    named = [(f.names if isinstance(f, ArrayFeature) else [f.name]) for f in loaded.encoding.features]
    return [name for names in named for name in names]


def baseline(loaded: Loaded) -> Matrix:
    """The output for the mean of the training rows: b + x̄·W. Shapes: (k,)."""
    mean: Matrix = loaded.outputs(loaded.training.mean[None])[0]
    return mean


def rows_with_contributions(loaded: Loaded, numbers: int) -> int:
    """How many rows have so many contributions; at least one."""
    return max(1, numbers // loaded.weights.weights.size)


def contributions(loaded: Loaded, X: Matrix) -> Matrix:
    """(x − x̄)·w of each feature and output, exact: with the baseline they sum to the output.

    Shapes:  X (n, d) → (n, features, k)
    """
    weights, mean = loaded.weights.weights, loaded.training.mean
    with np.errstate(over="ignore", invalid="ignore"):
        each = (X - mean)[:, :, None] * weights
    widths = [[1] * f.width if isinstance(f, ArrayFeature) else [len(f.names)] for f in loaded.encoding.features]
    starts = np.cumsum([0, *(width for feature in widths for width in feature)])[:-1]
    return np.ascontiguousarray(
        each if len(starts) == X.shape[1] else np.add.reduceat(each, starts, axis=1), np.float64
    )


def intervals(loaded: Loaded, X: Matrix, values: Matrix, level: float) -> tuple[Matrix, Matrix]:
    """Where a new observation lies with probability `level`: ŷ ± (t · σ √(1 + h) + |δ|), h = x̃ᵀ(X̃ᵀX̃)⁺x̃.

    δ is how far least squares predicts from ŷ, which has the interval of least squares within each: after steps that
    ended early, what is true near the training rows may be false at some distance from them.

    Since there is a bias, h = (x − x̄)ᵀ C (x − x̄) + 1/n, C being the features' block of (X̃ᵀX̃)⁺: about the origin, the
    terms of features far from zero would cancel.

    Shapes:  X (n, d), values (n, k) → low and high, (n, k)
    """
    told = uncertainty(loaded)
    # What overflows is refused by whoever asks, with the row that did it.
    with np.errstate(over="ignore", invalid="ignore"):
        off = X - loaded.training.mean
        leverage = np.einsum("ij,ij->i", off @ told.inverse_gram[:-1, :-1], off) + 1 / told.rows[0]
        spread = np.sqrt(1 + np.maximum(leverage, 0.0))
        reach = quantile(level, float(told.degrees_of_freedom[0])) * np.outer(spread, np.sqrt(told.residual_variance))
        if (step := told.to_least_squares) is not None:
            reach += np.abs(off @ step[:-1] + (loaded.training.mean @ step[:-1] + step[-1]))
    return values - reach, values + reach


def undetermined(loaded: Loaded, X: Matrix) -> NDArray[np.bool_]:
    """Which rows have no interval: they do not keep to what holds among the columns of all training rows, as x₂ = 2x₁.

    |(x − x̄)ᵀ N| > rᵀ|N| for a column of N, the null space; r = 10⁻⁴ (|x − x̄| + range) is slack, and what rounding does:
    2⁻²³ of the distance to the centre as trained, 2⁻⁵⁰ of the value.

    Shapes:  X (n, d) → (n,)
    """
    training, N = loaded.training, uncertainty(loaded).null_space
    if N is None:
        return np.zeros(len(X), np.bool_)
    off = X - training.mean
    slack = _ASIDE * (np.abs(off) + training.maximum - training.minimum) + _FINE * _size(training)
    slack += _ROUNDING * _size(training, loaded.encoding.centre)
    return np.asarray((np.abs(off @ N) > slack @ np.abs(N)).any(axis=1))


def uncertainty(loaded: Loaded) -> Uncertainty:
    """What intervals are made of, or the reason that there are none."""
    if loaded.row.kind != "linear":
        raise Unsupported((), "Intervals are told of linear models; ask a softmax model for its probabilities.")
    found = loaded.training.uncertainty
    if found is None:
        reason = loaded.coefficient_errors.reason or "it was saved without one"
        raise Unsupported((), f"The model has no covariance, of which intervals are made: {reason}.")
    return found


def drift(loaded: Loaded, X: Matrix) -> list[list[dict[str, Any]]]:
    """Of each row the features that lie outside what the training rows had."""
    training = loaded.training
    slack = _SLACK * (training.maximum - training.minimum) + _ROUNDING * _size(training)
    outside = (training.minimum - slack > X) | (training.maximum + slack < X)
    found: list[list[dict[str, Any]]] = [[] for _ in range(len(X))]
    start = 0
    for feature in loaded.encoding.features:
        stop = start + len(feature.names)
        for row in np.flatnonzero(outside[:, start:stop].any(axis=1)).tolist():
            found[row].append(_stray(loaded, feature, X[row], outside[row], start))
        start = stop
    return found


def _size(training: Statistics, centre: Matrix | float = 0.0) -> Matrix:
    """Of each design column how far from the centre it goes in the training rows."""
    return np.maximum(np.abs(training.minimum - centre), np.abs(training.maximum - centre))


def _stray(loaded: Loaded, feature: Any, x: Matrix, outside: Any, start: int) -> dict[str, Any]:
    training = loaded.training
    stop = start + len(feature.names)
    if isinstance(feature, CategoricalFeature):
        return {"feature": feature.name, "reason": "a category, or a missing value, that the training rows never had"}
    if isinstance(feature, ArrayFeature):
        count = int(outside[start:stop].sum())
        return {"feature": feature.name, "reason": f"{count} of {stop - start} elements outside their training range"}
    centre = float(loaded.encoding.centre[start])
    low, high = (_in_own_digits(float(bound[start]), centre) for bound in (training.minimum, training.maximum))
    return {
        "feature": feature.name, "reason": f"outside the training range {low:g} to {high:g}",
        "value": float(x[start]), "min": low, "max": high,
    }  # fmt: skip


def _in_own_digits(value: float, centre: float) -> float:
    """The shortest number that is the same on the training matrix: 32.1, as the data have it, for 32.099999483554896.

    The matrix has the distance to the centre in single precision. It is less than the slack that drift allows, so that
    no value is told to be outside a range within which it lies.
    """
    numbers = (0.0, *(float(f"{value:.{digits}g}") for digits in range(1, _DIGITS + 1)))
    return next(number for number in numbers if abs(number - value) <= _ROUNDING * abs(value - centre))
