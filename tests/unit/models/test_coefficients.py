"""The coefficients of a model, and how far they are from the truth."""

import json
from typing import Any

import numpy as np
import pytest

from app.datasets.synthetic import SyntheticLinear, SyntheticSoftmax, posterior
from app.models.coefficient_errors import CoefficientErrors
from app.models.coefficients import coefficients
from app.models.predictor import Predictor
from app.schemas.coefficients import Coefficients
from tests.unit.models.conftest import TOWN, X1, X2, Add


def truth(weights: tuple[float, ...] = (2.0, -3.0), bias: float = 4.0) -> dict[str, Any]:
    return dict(SyntheticLinear(list(weights), bias, rows=2).content().truth or {})


@pytest.fixture
def read(add: Add, predictor: Predictor) -> Any:
    """The coefficients of a model that is saved with these weights."""

    def make(known: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
        return coefficients(predictor.load(add(**model).id), known)

    return make


def test_a_linear_model_has_a_weight_for_each_feature_and_one_bias(read: Any):
    found = read()

    assert found == {
        "coefficients": [
            {"feature": "x1", "output": "y", "weight": 2.0},
            {"feature": "x2", "output": "y", "weight": -3.4},
        ],
        "bias": [{"output": "y", "weight": 4.2}],
        "inference": {
            "available": False,
            "reason": "no statistics were kept with this model",
            "distribution": None,
            "degrees_of_freedom": None,
            "reference": None,
        },
        "vs_truth": None,
    }
    assert json.loads(json.dumps(found)) == found


def test_a_coefficient_without_any_error_has_an_interval_of_no_width_and_no_test(read: Any):
    found = read(coefficient_errors=CoefficientErrors(np.zeros((3, 1)), degrees=2))

    x1 = found["coefficients"][0]
    assert x1 == {"feature": "x1", "output": "y", "weight": 2.0, "standard_error": 0.0, "ci_low": 2.0, "ci_high": 2.0}


def test_where_errors_were_kept_each_coefficient_is_tested_by_its_own(read: Any):
    found = read(coefficient_errors=CoefficientErrors(np.array([[0.5], [np.nan], [2.1]]), degrees=10))

    (x1, x2), bias = found["coefficients"], found["bias"][0]
    assert (x1["standard_error"], x1["statistic"]) == (0.5, 4.0)
    assert (x1["ci_low"], x1["ci_high"]) == pytest.approx((2 - 2.228139 * 0.5, 2 + 2.228139 * 0.5), abs=1e-6)
    assert x1["p_value"] == pytest.approx(0.002518, abs=1e-6)  # Student's t, two-sided
    assert set(x2) == {"feature", "output", "weight"}  # the data do not determine it
    assert (bias["standard_error"], bias["statistic"]) == pytest.approx((2.1, 2.0))
    assert found["inference"] == {
        "available": True, "reason": None, "distribution": "t", "degrees_of_freedom": 10, "reference": None,
    }  # fmt: skip


def test_every_level_of_a_category_has_a_weight_of_its_own(read: Any):
    found = read(weights=[[1.0], [5.0], [3.0], [0.1]], bias=[100.0], features=[TOWN, X2])

    assert [(entry["feature"], entry["weight"]) for entry in found["coefficients"]] == [
        ("town=bonn", 1.0), ("town=köln", 5.0), ("town=unknown", 3.0), ("x2", 0.1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("outputs", "model"),
    [(["no", "yes"], {"classes": ["no", "yes"]}), (["y", "z"], {"target": ["y", "z"]})],
    ids=["classes", "targets"],
)
def test_weights_stand_output_by_output_in_feature_order(read: Any, outputs: list[str], model: dict[str, Any]):
    found = read(weights=[[1.0, 10.0], [2.0, 20.0]], bias=[3.0, 30.0], **model)

    assert [(entry["output"], entry["feature"], entry["weight"]) for entry in found["coefficients"]] == [
        (outputs[0], "x1", 1.0), (outputs[0], "x2", 2.0), (outputs[1], "x1", 10.0), (outputs[1], "x2", 20.0),
    ]  # fmt: skip
    assert [(entry["output"], entry["weight"]) for entry in found["bias"]] == [(outputs[0], 3.0), (outputs[1], 30.0)]


def test_where_the_truth_is_known_the_errors_are_shown(read: Any):
    found = read(truth(), weights=[[2.5], [-3.25]], bias=[3.0])

    assert found["vs_truth"] == {
        "weights": [2.0, -3.0], "bias": 4.0, "weight_errors": [0.5, 0.25], "bias_error": 1.0,
    }  # fmt: skip


def test_the_truth_stands_in_the_order_of_the_models_features(read: Any):
    found = read(truth(), weights=[[-3.25], [2.5]], bias=[3.0], features=[X2, X1])

    assert found["vs_truth"]["weights"] == [-3.0, 2.0]
    assert found["vs_truth"]["weight_errors"] == [0.25, 0.5]


def test_a_model_of_another_target_is_not_held_to_the_truth(read: Any):
    assert read(truth(), target=["x3"])["vs_truth"] is None


def test_a_model_of_some_features_is_held_to_their_weights_and_the_mean_of_the_others(read: Any):
    known = dict(SyntheticLinear([2.0, -3.0, 1.5], 4.0, rows=2, feature_mean=10.0).content().truth or {})

    found = read(known, weights=[[-3.25], [1.5]], bias=[23.0], features=[X2, type(X2)("x3", 0.0)])

    assert found["vs_truth"] == {
        "weights": [-3.0, 1.5], "bias": 24.0, "weight_errors": [0.25, 0.0], "bias_error": 1.0,
    }  # fmt: skip


def test_that_is_what_least_squares_finds():
    known = SyntheticLinear([2.0, -3.0, 1.5], 4.0, rows=100_000, feature_mean=10.0, seed=1).content()
    parts = [(batch["x1"], batch["x3"], batch["y"]) for batch in known.batches()]
    x1, x3, y = (np.concatenate(each) for each in zip(*parts, strict=True))

    found = np.linalg.lstsq(np.column_stack([x1, x3, np.ones(len(y))]), y, rcond=None)[0]

    assert found == pytest.approx([2.0, 1.5, 4.0 - 3.0 * 10.0], abs=0.3)


def test_a_set_of_an_earlier_version_that_tells_no_mean_holds_models_of_all_features_to_the_truth(read: Any):
    old = {"type": "synthetic_linear", "weights": [2.0, -3.0], "bias": 4.0, "noise_std": 0.01}

    assert read(old, weights=[[2.5], [-3.25]], bias=[3.0])["vs_truth"]["bias_error"] == 1.0
    assert read(old, weights=[[2.5]], bias=[3.0], features=[X1])["vs_truth"] is None


def test_a_model_of_other_features_is_not_held_to_the_truth(read: Any):
    assert read(truth(), features=[X1, type(X1)("y", 0.0)], target=["x2"])["vs_truth"] is None
    assert read(truth(), features=[X1, TOWN], weights=[[1.0]] * 4)["vs_truth"] is None


def test_a_model_of_several_targets_is_not_held_to_the_truth_of_one(read: Any):
    several = {"weights": [[1.0, 10.0], [2.0, 20.0]], "bias": [3.0, 30.0], "target": ["y", "x3"]}

    assert read(truth(), **several)["vs_truth"] is None


CLOUDS = {"type": "synthetic_softmax", "centres": [[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0]], "noise_std": 0.5}
LEARNT: dict[str, Any] = {
    "weights": [[4.0, -4.0, 0.0], [1.0, 1.0, 10.0]], "bias": [0.0, 1.0, -15.0],
    "classes": ["0", "1", "2"], "target": ["label"],
}  # fmt: skip


def test_classes_are_held_to_the_truth_by_their_differences_to_a_reference(read: Any):
    found = read(CLOUDS, **LEARNT)

    # w = μ/σ² and b = −|μ|²/2σ²: weights (4, 0), (−4, 0), (0, 12), biases −2, −2, −18
    assert found["vs_truth"] == {
        "reference": "0",
        "per_class": {
            "1": {"weights": [-8.0, 0.0], "bias": 0.0, "weight_errors": [0.0, 0.0], "bias_error": 1.0},
            "2": {"weights": [-4.0, 12.0], "bias": -16.0, "weight_errors": [0.0, 3.0], "bias_error": 1.0},
        },
    }
    assert Coefficients.model_validate(found).model_dump()["vs_truth"] == found["vs_truth"]


def test_the_reference_is_that_of_the_statistics(read: Any):
    found = read(CLOUDS, **LEARNT, coefficient_errors=CoefficientErrors(np.ones((3, 3)), reference="2"))

    assert found["vs_truth"]["reference"] == "2"
    assert found["vs_truth"]["per_class"]["1"]["weights"] == [-4.0, -12.0]


def test_a_softmax_model_of_one_feature_and_some_classes_is_held_to_what_is_true_of_these(read: Any):
    found = read(CLOUDS, features=[X2], weights=[[0.0, 12.0]], bias=[0.0, -17.0], classes=["1", "2"], target=["label"])

    assert found["vs_truth"] == {
        "reference": "1",
        "per_class": {"2": {"weights": [12.0], "bias": -18.0, "weight_errors": [0.0], "bias_error": 1.0}},
    }


@pytest.mark.parametrize("features", [[0, 1, 2], [1], [2, 0]])
def test_the_truth_of_classes_is_what_newton_finds(features: list[int]):
    """Two classes, of some features of large clouds: logistic regression approaches the truth."""
    made = SyntheticSoftmax(2, 3, 200_000, separation=2.0, noise_std=1.5, seed=3).content()
    rows = np.vstack([np.column_stack([batch[f"x{i + 1}"] for i in features]) for batch in made.batches()])
    labels = np.concatenate([batch["label"].to_numpy(zero_copy_only=False) == "1" for batch in made.batches()])
    X, w = np.column_stack([rows, np.ones(len(rows))]), np.zeros(len(features) + 1)
    for _ in range(8):
        p = 1 / (1 + np.exp(-X @ w))
        w += np.linalg.solve((X.T * (p * (1 - p))) @ X, X.T @ (labels - p))

    weights, bias = posterior(np.array((made.truth or {})["centres"])[:, features], 1.5)

    assert w == pytest.approx([*(weights[:, 1] - weights[:, 0]), bias[1] - bias[0]], abs=0.03)


def test_models_of_other_targets_or_classes_and_clouds_without_noise_are_not_held_to_a_truth(read: Any):
    assert read(CLOUDS, **{**LEARNT, "classes": ["0", "1", "other"]})["vs_truth"] is None
    assert read(CLOUDS, **{**LEARNT, "target": ["colour"]})["vs_truth"] is None
    assert read({**CLOUDS, "noise_std": 0.0}, **LEARNT)["vs_truth"] is None
    assert read(CLOUDS, target=["label"])["vs_truth"] is None
    assert read(truth(), **{**LEARNT, "target": ["y"]})["vs_truth"] is None
