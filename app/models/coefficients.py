"""The coefficients of a model, named, in the original units, and how far they are from a known truth."""

from typing import Any

import numpy as np

from app.models.predictor import Loaded


def coefficients(loaded: Loaded, truth: dict[str, Any] | None) -> dict[str, Any]:
    """Every weight by feature and output, the bias by output, and the errors where the truth is known."""
    outputs = loaded.row.classes or loaded.row.target
    features = loaded.encoding.names
    weights, bias = loaded.weights.weights, loaded.weights.bias
    return {
        "coefficients": [
            {"feature": feature, "output": output, "weight": float(weights[row, column])}
            for column, output in enumerate(outputs)
            for row, feature in enumerate(features)
        ],
        "bias": [{"output": output, "weight": float(bias[column])} for column, output in enumerate(outputs)],
        "vs_truth": _errors(loaded, truth),
    }


def _errors(loaded: Loaded, truth: dict[str, Any] | None) -> dict[str, Any] | None:
    """|ŵ − w| and |b̂ − b| for a linear model of all features of the synthetic set whose truth is given."""
    if truth is None or truth.get("type") != "synthetic_linear" or loaded.row.target != ["y"]:
        return None
    known = {f"x{number}": float(weight) for number, weight in enumerate(truth["weights"], 1)}
    names = loaded.encoding.names
    if set(names) != set(known):
        return None
    weights = np.array([known[name] for name in names])
    return {
        "weights": weights.tolist(),
        "bias": float(truth["bias"]),
        "weight_errors": np.abs(loaded.weights.weights[:, 0] - weights).tolist(),
        "bias_error": float(abs(loaded.weights.bias[0] - truth["bias"])),
    }
