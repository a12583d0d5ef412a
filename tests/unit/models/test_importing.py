"""An exported model comes back as it was, whatever its features are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest

from app.datasets.feature_encoding import ArrayFeature, CategoricalFeature, Feature, NumericFeature
from app.errors import InvalidModel
from app.models.coefficient_errors import UNTESTED, CoefficientErrors
from app.models.exports import json, safetensors
from app.models.importing import _plain, read
from app.models.predictor import Loaded, Predictor
from app.models.statistics import Statistics, Uncertainty
from tests.unit.models.conftest import TOWN, X1, Add

WRITERS = [json.write, safetensors.write]


@pytest.mark.parametrize(
    "feature",
    [
        X1,
        NumericFeature("rooms", 3.0, indicator=True),
        NumericFeature("area", 3.0, missing_trained=False),
        TOWN,
        CategoricalFeature("street", ("a", "b"), (0.5, 0.3, 0.2), unknown_trained=True, other=True),
        ArrayFeature("image", (2, 3), pixels=True),
    ],
    ids=[
        "a number",
        "a number with an indicator",
        "a number never missed",
        "a category",
        "a category with rare levels",
        "an array",
    ],
)
@pytest.mark.parametrize("write", WRITERS, ids=["json", "safetensors"])
def test_every_kind_of_feature_survives_export_and_import(
    add: Add, predictor: Predictor, write: Callable[[Loaded], bytes], feature: Feature
):
    weights = np.arange(1.0, len(feature.names) + 1).reshape(-1, 1)
    add("any", weights=weights, features=[feature])
    loaded = predictor.load("any")

    found = read(write(loaded))

    assert found.encoding == loaded.encoding
    assert found.weights.weights.tolist() == weights.tolist()


@pytest.mark.parametrize("write", WRITERS, ids=["json", "safetensors"])
def test_what_a_model_knows_of_its_training_and_its_errors_survives(
    add: Add, predictor: Predictor, write: Callable[[Loaded], bytes]
):
    errors = np.array([[0.5], [np.nan], [0.25]])
    known = np.eye(3), np.array([2.0]), errors, np.array([10.0]), np.array([7.0]), np.array([0.0])
    told = Uncertainty(*known, to_least_squares=np.ones((3, 1)), null_space=np.array([[1.0], [-0.5]]))
    add(
        "any",
        statistics=Statistics(*np.arange(6.0).reshape(3, 2), told),
        coefficient_errors=CoefficientErrors(errors, 7),
    )
    loaded = predictor.load("any")

    found = read(write(loaded))

    assert found.statistics is not None
    assert loaded.statistics is not None
    for name, tensor in loaded.statistics.tensors().items():
        np.testing.assert_array_equal(found.statistics.tensors()[name], tensor)
    np.testing.assert_array_equal(found.coefficient_errors.errors, errors)
    assert (
        found.coefficient_errors.about
        == loaded.coefficient_errors.about
        == {"degrees": 7, "reference": None, "reason": None}
    )


@pytest.mark.parametrize("write", WRITERS, ids=["json", "safetensors"])
def test_a_file_of_before_the_null_space_was_kept_has_its_uncertainty_still(
    add: Add, predictor: Predictor, write: Callable[[Loaded], bytes]
):
    known = np.eye(3), np.array([2.0]), np.ones((3, 1)), np.array([10.0]), np.array([7.0]), np.array([0.0])
    add("any", statistics=Statistics(*np.arange(6.0).reshape(3, 2), Uncertainty(*known)))

    found = read(write(predictor.load("any"))).statistics

    assert found is not None
    assert found.uncertainty is not None
    assert (found.uncertainty.null_space, found.uncertainty.to_least_squares) == (None, None)
    assert found.uncertainty.inverse_gram.tolist() == np.eye(3).tolist()


@pytest.mark.parametrize("write", WRITERS, ids=["json", "safetensors"])
@pytest.mark.parametrize("coefficient_errors", [CoefficientErrors(None, reason="the solver took steps"), UNTESTED])
def test_why_a_model_has_no_errors_survives_too(
    add: Add, predictor: Predictor, write: Callable[[Loaded], bytes], coefficient_errors: CoefficientErrors
):
    add("any", coefficient_errors=coefficient_errors)

    assert read(write(predictor.load("any"))).coefficient_errors == coefficient_errors


def test_a_file_of_before_errors_were_exported_is_still_read(add: Add, predictor: Predictor):
    add("any")
    document = orjson.loads(json.write(predictor.load("any")))
    del document["inference"]

    assert read(orjson.dumps(document)).coefficient_errors == UNTESTED


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"statistics": {"coefficient_errors": [[1.0], [-1.0], [1.0]]}}, "coefficient_errors"),
        ({"statistics": {"coefficient_errors": [[1.0], [1.0]]}}, "coefficient_errors"),
        ({"statistics": {"degrees_of_freedom": [0.0]}}, "degrees_of_freedom"),
        ({"statistics": {"residual_variance": [-1.0]}}, "residual_variance"),
        ({"statistics": {"residual_variance": [None]}}, "residual_variance"),
        ({"statistics": {"null_space": [[1.0], [1.0], [1.0]]}}, "null_space"),
        ({"statistics": {"null_space": [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]}}, "null_space"),
        ({"statistics": {"null_space": [[], []]}}, "null_space"),
        ({"statistics": {"null_space": [1.0, 1.0]}}, "null_space"),
        ({"statistics": {"null_space": [[None], [1.0]]}}, "null_space"),
        ({"statistics": {"to_least_squares": [[1.0]]}}, "to_least_squares"),
        ({"weights": [[1e308], [1.0]]}, "weights"),
        ({"bias": [-1e101]}, "bias"),
        ({"statistics": {"mean": [1e200, 0.0]}}, "mean"),
        ({"statistics": {"degrees_of_freedom": [1e308]}}, "degrees_of_freedom"),
        ({"inference": {"degrees": 10**18, "reference": None, "reason": None}}, "inference.degrees"),
        ({"inference": {"degrees": 0, "reference": None, "reason": None}}, "inference.degrees"),
        ({"inference": {"degrees": 3, "reference": "cat", "reason": None}}, "file"),
        ({"inference": {"degrees": 3, "reference": None, "reason": None, "p": 1}}, "inference.p"),
    ],
)
def test_statistics_that_cannot_be_are_refused(add: Add, predictor: Predictor, change: dict[str, Any], location: str):
    add("any")
    document = orjson.loads(json.write(predictor.load("any")))

    with pytest.raises(InvalidModel) as refused:
        read(orjson.dumps(document | change))

    assert [fault.location for fault in refused.value.faults] == [location]


def test_metrics_that_are_no_numbers_are_dropped():
    metrics = {"train": {"loss": 1.5, "mse": float("inf"), "mae": 10**400, "r2": float("nan"), "rmse": "2"}}

    assert _plain({**metrics, "test": 1.0}) == {"train": {"loss": 1.5}}


def test_what_is_wrong_is_said_in_our_words(add: Add, predictor: Predictor):
    add("any")
    document = orjson.loads(json.write(predictor.load("any")))
    del document["kind"]
    document["inference"] = {"degrees": 3, "reference": "cat", "reason": None}

    with pytest.raises(InvalidModel) as missing:
        read(orjson.dumps(document))
    with pytest.raises(InvalidModel) as contradicting:
        read(orjson.dumps(document | {"kind": "linear"}))

    assert [fault.message for fault in missing.value.faults] == ["this field is required"]
    assert [fault.message for fault in contradicting.value.faults] == [
        "the reference of the inference is none of the classes"
    ]


@pytest.mark.parametrize("number", ["1.5", True, "", [1.0]])
def test_what_is_no_number_is_not_read_as_one(add: Add, predictor: Predictor, number: Any):
    add("any")
    document = orjson.loads(json.write(predictor.load("any")))
    document["bias"] = [number] * len(document["bias"])

    with pytest.raises(InvalidModel) as refused:
        read(orjson.dumps(document))

    assert [fault.location for fault in refused.value.faults] == ["bias"]
