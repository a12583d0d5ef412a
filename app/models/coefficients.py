"""The coefficients of a model, named, in the original units: how sure they are, how far from a known truth."""

from typing import Any

import numpy as np

from app.models.coefficient_errors import CoefficientErrors
from app.models.predictor import Loaded
from app.models.truth import compared
from app.training.distributions import quantile, two_sided_p

CONFIDENCE = 0.95


def coefficients(loaded: Loaded, truth: dict[str, Any] | None) -> dict[str, Any]:
    """Every weight by feature and output, the bias by output, their statistics, and the errors against a truth."""
    outputs = loaded.row.classes or loaded.row.target
    features = loaded.encoding.names
    weights, bias = loaded.weights.weights, loaded.weights.bias
    found = loaded.coefficient_errors
    tested = _tests(found, np.vstack([weights, bias]))
    return {
        "coefficients": [
            {"feature": feature, "output": output, "weight": float(weights[row, column]), **tested(row, column)}
            for column, output in enumerate(outputs)
            for row, feature in enumerate(features)
        ],
        "bias": [
            {"output": output, "weight": float(bias[column]), **tested(len(features), column)}
            for column, output in enumerate(outputs)
        ],
        "inference": _about(found),
        "vs_truth": compared(loaded, truth),
    }


def _tests(found: CoefficientErrors, values: Any) -> Any:
    """Standard error, statistic, p-value and interval of the coefficient in a row and column of `values`."""
    if found.errors is None:
        return lambda row, column: {}
    errors, degrees = found.errors, found.degrees
    width = quantile(CONFIDENCE, degrees)

    def tested(row: int, column: int) -> dict[str, float]:
        error, value = float(errors[row, column]), float(values[row, column])
        if not np.isfinite(error):
            return {}
        # Without any error there is nothing to test.
        test = {"statistic": value / error, "p_value": two_sided_p(value / error, degrees)} if error else {}
        interval = {"ci_low": value - width * error, "ci_high": value + width * error}
        return {"standard_error": error, **test, **interval}

    return tested


def _about(found: CoefficientErrors) -> dict[str, Any]:
    available = found.errors is not None
    return {
        "available": available,
        "reason": found.reason,
        "distribution": ("normal" if found.degrees is None else "t") if available else None,
        "degrees_of_freedom": found.degrees,
        "reference": found.reference,
    }
