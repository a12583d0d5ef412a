"""The coefficients of a model, and how far they are from the truth."""

import json
from typing import Any

import pytest

from app.datasets.synthetic import SyntheticLinear, SyntheticSoftmax
from app.models.coefficients import coefficients
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

    unsure = dict.fromkeys(("standard_error", "statistic", "p_value", "ci_low", "ci_high"))
    assert found.pop("inference_refused").startswith("Standard errors need")
    assert found == {
        "coefficients": [
            {"feature": "x1", "output": "y", "weight": 2.0, **unsure},
            {"feature": "x2", "output": "y", "weight": -3.4, **unsure},
        ],
        "bias": [{"output": "y", "weight": 4.2, **unsure}],
        "vs_truth": None,
    }
    assert json.loads(json.dumps(found)) == found


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
