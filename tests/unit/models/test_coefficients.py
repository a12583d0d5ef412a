"""The coefficients of a model, and how far they are from the truth."""

import json
from typing import Any

import numpy as np
import pytest

from app.datasets.synthetic import SyntheticLinear, SyntheticSoftmax
from app.models.coefficients import coefficients
from app.models.inference import Inference
from app.models.predictor import Predictor
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
    found = read(inference=Inference(np.zeros((3, 1)), degrees=2))

    x1 = found["coefficients"][0]
    assert x1 == {"feature": "x1", "output": "y", "weight": 2.0, "standard_error": 0.0, "ci_low": 2.0, "ci_high": 2.0}


def test_where_errors_were_kept_each_coefficient_is_tested_by_its_own(read: Any):
    found = read(inference=Inference(np.array([[0.5], [np.nan], [2.1]]), degrees=10))

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


def test_a_model_of_other_features_is_not_held_to_the_truth(read: Any):
    assert read(truth((2.0, -3.0, 1.0)))["vs_truth"] is None
    assert read(truth(), features=[X1, type(X1)("y", 0.0)], target=["x2"])["vs_truth"] is None


def test_a_model_of_several_targets_is_not_held_to_the_truth_of_one(read: Any):
    several = {"weights": [[1.0, 10.0], [2.0, 20.0]], "bias": [3.0, 30.0], "target": ["y", "x3"]}

    assert read(truth(), **several)["vs_truth"] is None


def test_a_softmax_model_is_not_held_to_the_truth(read: Any):
    clouds = dict(SyntheticSoftmax(2, 2, 4).content().truth or {})

    assert read(clouds, weights=[[1.0, 10.0], [2.0, 20.0]], bias=[3.0, 30.0], classes=["0", "1"])["vs_truth"] is None
    assert read(clouds)["vs_truth"] is None
