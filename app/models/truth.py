"""The truth behind a synthetic dataset, and how far from it a model is that was trained on it.

A model of some of the features is held to what is true of these. In a linear set the features are independent, so that
the weights are the same, and the bias takes in what the others add on average; the clouds of a softmax set spread alike
in every direction, so that without some of the features they are clouds of the same kind.
"""

from typing import Any

import numpy as np

from app.datasets.synthetic import posterior
from app.models.predictor import Loaded
from app.models.weights import Matrix

Truth = dict[str, Any]


def compared(loaded: Loaded, truth: Truth | None) -> dict[str, Any] | None:
    """The true weights and bias with the errors of the model's; None where it predicts, or takes, something else."""
    if truth is None:
        return None
    if truth.get("type") == "synthetic_linear" and loaded.row.target == ["y"] and loaded.row.kind == "linear":
        return _linear(loaded, truth)
    if truth.get("type") == "synthetic_softmax" and loaded.row.target == ["label"] and loaded.row.kind == "softmax":
        return _softmax(loaded, truth)
    return None


def _linear(loaded: Loaded, truth: Truth) -> dict[str, Any] | None:
    true = np.asarray(truth["weights"], np.float64)
    taken = _taken(loaded, len(true))
    if taken is None:
        return None
    left_out = np.delete(true, taken)
    # Sets of earlier versions do not tell the mean of their features.
    if len(left_out) and "feature_mean" not in truth:
        return None
    bias = truth["bias"] + truth.get("feature_mean", 0.0) * left_out.sum()
    return _errors(true[taken], float(bias), loaded.weights.weights[:, 0], float(loaded.weights.bias[0]))


def _softmax(loaded: Loaded, truth: Truth) -> dict[str, Any] | None:
    """Class by class, less a reference: the same number on all logits changes no probability, so none can be learnt."""
    names = loaded.row.classes or []
    centres = np.asarray(truth["centres"], np.float64)
    known = {str(number): number for number in range(len(centres))}
    taken = _taken(loaded, centres.shape[1])
    if taken is None or not truth["noise_std"] or not set(names) <= set(known):
        return None
    true = posterior(centres[[known[name] for name in names]][:, taken], truth["noise_std"])
    reference = loaded.coefficient_errors.reference or names[0]
    weights, bias = (_less(each, names.index(reference)) for each in true)
    learnt, learnt_bias = (
        _less(each, names.index(reference)) for each in (loaded.weights.weights, loaded.weights.bias)
    )
    return {
        "reference": reference,
        "per_class": {
            name: _errors(weights[:, i], float(bias[i]), learnt[:, i], float(learnt_bias[i]))
            for i, name in enumerate(names)
            if name != reference
        },
    }


def _taken(loaded: Loaded, width: int) -> list[int] | None:
    """Which of the features `x1…xd` each column of the model is, if all are."""
    known = {f"x{number + 1}": number for number in range(width)}
    names = loaded.encoding.names
    return [known[name] for name in names] if set(names) <= set(known) else None


def _less(values: Matrix, reference: int) -> Matrix:
    return values - values[..., reference, None]


def _errors(weights: Matrix, bias: float, learnt: Matrix, learnt_bias: float) -> dict[str, Any]:
    return {
        "weights": weights.tolist(),
        "bias": bias,
        "weight_errors": np.abs(learnt - weights).tolist(),
        "bias_error": abs(learnt_bias - bias),
    }
