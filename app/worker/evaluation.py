"""The metrics of a finished model, on its training rows and on its validation rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.training.problem import Parameters, Problem, Rows

BLOCK_ROWS = 16_384
PRECISE_ENTRIES = 4_000_000
"""Features up to which a linear model's outputs are computed in float64, as `POST /models/{model}/evaluate` does."""
WILD, FAINT = 1e10, 1e-10
"""Beyond these, parameters may have outputs that only float64 can hold."""


def evaluate(problem: Problem, parameters: Parameters) -> dict[str, dict[str, float]]:
    """mse, rmse, mae and r2 of a linear model; cross_entropy and accuracy of a softmax model."""
    splits = {"train": problem.train, "validation": problem.validation}
    measure = _linear if problem.train.y.ndim == 2 else _softmax
    return {name: measure(rows, parameters) for name, rows in splits.items() if rows is not None}


def _linear(rows: Rows, parameters: Parameters) -> dict[str, float]:
    squared = absolute = total = 0.0
    mean = rows.y.mean(axis=0, dtype=np.float64)
    for y_hat, y in _outputs(rows, parameters):
        # In float64, as are the squares: those of residuals of 1e-24, or of 1e20, are no float32.
        residuals = y_hat.astype(np.float64) - y
        squared += float((residuals**2).sum())
        absolute += float(np.abs(residuals).sum())
        total += float(((y - mean) ** 2).sum())
    mse = squared / rows.y.size
    metrics = {"mse": mse, "rmse": mse**0.5, "mae": absolute / rows.y.size}
    # A constant target has no variance to explain.
    return {**metrics, "r2": 1 - squared / total} if total > 0 else metrics


def _softmax(rows: Rows, parameters: Parameters) -> dict[str, float]:
    loss, right = 0.0, 0
    for logits, y in _outputs(rows, parameters):
        shifted = logits - logits.max(axis=1, keepdims=True)
        true = np.take_along_axis(shifted, y[:, None], axis=1)[:, 0]
        loss += float((np.log(np.exp(shifted).sum(axis=1)) - true).sum(dtype=np.float64))
        right += int((logits.argmax(axis=1) == y).sum())
    return {"cross_entropy": loss / rows.count, "accuracy": right / rows.count}


def _outputs(rows: Rows, parameters: Parameters) -> Any:
    largest = max(float(np.abs(part).max(initial=0.0)) for part in (parameters.weights, parameters.bias))
    quick = rows.y.ndim == 2 and rows.X.size <= PRECISE_ENTRIES
    precision = np.float64 if quick or not FAINT < largest < WILD else np.float32
    weights: NDArray[Any] = (parameters.weights * rows.scale).astype(precision)
    bias: NDArray[Any] = parameters.bias.astype(precision)
    for chosen, X in rows.blocks(BLOCK_ROWS * rows.features):
        outputs: NDArray[Any] = X.astype(precision, copy=False) @ weights + bias
        yield outputs, rows.y[chosen]
