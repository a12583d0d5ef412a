"""The coefficients of a model, named, in the original units, how sure they are, and how far from a known truth."""

from typing import Any

import numpy as np

from app.models.predictor import Loaded
from app.models.statistics import NEAR, Uncertainty
from app.models.student import quantile, two_sided

LEVEL = 0.95


def coefficients(loaded: Loaded, truth: dict[str, Any] | None) -> dict[str, Any]:
    """Every weight by feature and output, the bias by output, and the errors where the truth is known."""
    weights, bias = loaded.weights.weights, loaded.weights.bias
    told, refusal = _inference(loaded)
    return {
        "coefficients": [
            {"feature": feature, "output": output, **_about(float(weights[row, column]), told, row, column)}
            for column, output in enumerate(loaded.outputs_names)
            for row, feature in enumerate(loaded.encoding.names)
        ],
        "bias": [
            {"output": output, **_about(float(bias[column]), told, len(weights), column)}
            for column, output in enumerate(loaded.outputs_names)
        ],
        "inference_refused": refusal,
        "vs_truth": _errors(loaded, truth),
    }


def _inference(loaded: Loaded) -> tuple[Uncertainty | None, str | None]:
    """What standard errors come from, or the reason that there are none."""
    if loaded.row.kind != "linear":
        return None, "Standard errors are told of linear models."
    found = loaded.statistics.uncertainty if loaded.statistics is not None else None
    if found is None:
        return (
            None,
            "Standard errors need the squared loss without l1 and l2, at most 500 features, and more rows.",
        )
    if not found.is_at_optimum:
        return None, (
            f"A coefficient is {found.distance[0]:.2g} standard errors away from least squares, more than {NEAR}: "
            "train longer, or with a smaller learning rate."
        )
    return found, None


def _about(weight: float, told: Uncertainty | None, row: int, column: int) -> dict[str, float | None]:
    about: dict[str, float | None] = {"weight": weight}
    if told is None or not np.isfinite(told.standard_errors[row, column]):
        return about | dict.fromkeys(("standard_error", "statistic", "p_value", "ci_low", "ci_high"))
    error, degrees = float(told.standard_errors[row, column]), float(told.degrees_of_freedom[0])
    statistic = weight / error if error > 0 else None
    reach = quantile(LEVEL, degrees) * error
    p_value = two_sided(statistic, degrees) if statistic is not None else None
    return about | {
        "standard_error": error, "statistic": statistic, "p_value": p_value,
        "ci_low": weight - reach, "ci_high": weight + reach,
    }  # fmt: skip


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
