from datetime import date

import pytest

from app.datasets.feature_encoding import NumericFeature
from app.errors import InvalidRequest
from app.models.evaluation import evaluate
from app.models.predictor import Predictor
from tests.unit.datasets.conftest import Build
from tests.unit.models.conftest import Add

ONE = NumericFeature("a", 0.0)


def test_a_fraction_among_classes_that_are_numbers_is_refused_as_a_class_unknown(
    add: Add,
    predictor: Predictor,
    build: Build,
) -> None:
    add("tens", weights=[[1.0, 2.0]], bias=[0.0, 0.0], features=[ONE], classes=["10", "20"])

    with pytest.raises(InvalidRequest, match=r"'20\.5'"):
        evaluate(predictor.load("tens"), build({"a": [1, 2], "y": [10.0, 20.5]}), "all")


def test_a_target_may_have_whole_numbers_beyond_a_float(
    add: Add,
    predictor: Predictor,
    build: Build,
) -> None:
    add("ids", weights=[[1.0]], bias=[0.0], features=[ONE])

    found = evaluate(predictor.load("ids"), build({"a": [0, 1], "y": [2**60 + 1, 2**60 + 1]}), "all")

    assert found["mae"] == pytest.approx(2.0**60)


@pytest.mark.parametrize("values", [["p", "q"], [date(2020, 1, 1), date(2020, 1, 2)], [[1.0], [2.0]]])
def test_a_target_that_is_no_number_is_refused(
    add: Add,
    predictor: Predictor,
    build: Build,
    values: list[object],
) -> None:
    add("line", weights=[[1.0]], bias=[0.0], features=[ONE])

    with pytest.raises(InvalidRequest) as caught:
        evaluate(predictor.load("line"), build({"a": [1, 2], "y": values}), "all")

    assert caught.value.faults[0].location == "dataset"


def test_a_constant_target_has_no_variance_to_explain(add: Add, predictor: Predictor, build: Build) -> None:
    """The mean of a thousand times 0.1 is not 0.1."""
    add("line", weights=[[0.0]], bias=[0.2], features=[ONE])

    found = evaluate(predictor.load("line"), build({"a": [1] * 1000, "y": [0.1] * 1000}), "all")

    assert (found["r2"], found["mae"], found["per_target"]) == (None, pytest.approx(0.1), None)


def test_of_several_targets_each_is_measured_too(add: Add, predictor: Predictor, build: Build) -> None:
    add("two", weights=[[1.0, 100.0]], bias=[0.0, 0.0], features=[ONE], target=("y", "z"))

    found = evaluate(predictor.load("two"), build({"a": [1, 2], "y": [1, 3], "z": [100, 300]}), "all")

    assert found["per_target"] == {
        "y": {"mse": 0.5, "rmse": 0.5**0.5, "mae": 0.5, "r2": 0.5},
        "z": {"mse": 5000.0, "rmse": 5000**0.5, "mae": 50.0, "r2": 0.5},
    }
    assert (found["mse"], found["mae"], found["r2"]) == (2500.25, 25.25, 0.5)


def test_a_class_that_the_model_holds_for_impossible_costs_its_logits(
    add: Add, predictor: Predictor, build: Build
) -> None:
    add("sure", weights=[[0.0, 1000.0]], bias=[0.0, 0.0], features=[ONE], classes=["no", "yes"])

    found = evaluate(predictor.load("sure"), build({"a": [1, 1, -2], "y": ["no", "yes", "yes"]}), "all")

    assert found["cross_entropy"] == pytest.approx((1000 + 0 + 2000) / 3)


def test_rows_that_the_model_is_sure_of_are_ranked_all_the_same(add: Add, predictor: Predictor, build: Build) -> None:
    """By logits: from about 37 on all probabilities are 1."""
    add("sure", weights=[[0.0, 1.0]], bias=[0.0, 0.0], features=[ONE], classes=["no", "yes"])

    found = evaluate(predictor.load("sure"), build({"a": [50, 40, 45, 38.5], "y": ["yes", "no", "yes", "no"]}), "all")

    assert found["roc_auc"] == 1.0
