"""A prediction, as /predict answers it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from app.errors import InvalidInstances, InvalidRequest
from app.models.bodies import answer_records, answer_rows
from app.models.prediction import Wish
from app.models.predictor import Loaded, Predictor
from tests.unit.models.conftest import TOWN, X1, X2, Add

CLASSES = ["no", "yes", "perhaps"]


@pytest.fixture
def line(add: Add, predictor: Predictor) -> Loaded:
    add("line")
    return predictor.load("line")


@pytest.fixture
def classifier(add: Add, predictor: Predictor) -> Loaded:
    """Three classes, whose logits are −x1, x1 and 0."""
    add("opinion", weights=[[-1.0, 1.0, 0.0]], bias=[0.0, 0.0, 0.0], features=[X1], classes=CLASSES)
    return predictor.load("opinion")


def predict(
    loaded: Loaded, instances: Any, records: Any, outputs: Sequence[str] = (), top_k: int | None = None
) -> dict[str, Any]:
    """What /predict replies."""
    wish = Wish(frozenset(outputs), top_k)
    if instances is not None:
        return answer_rows(loaded, instances, wish, 1000).to_json()
    return answer_records(loaded, records, wish, 1000).to_json()


def listed(values: Any) -> Any:
    return np.asarray(values).tolist()


def test_the_reply_names_the_model_that_answered(line: Loaded):
    assert predict(line, [[0.0, 0.0]], None)["model"] == {"id": line.row.id, "name": "line", "version": 1}


def test_a_linear_model_predicts_a_number_for_each_row(line: Loaded):
    reply = predict(line, [[2.0, -1.0], [0.5, 0.5]], None)

    assert listed(reply["predictions"]) == pytest.approx([11.6, 3.5])
    assert set(reply) == {"model", "predictions"}


def test_records_mean_the_same_as_rows_and_a_missing_value_is_the_mean(line: Loaded):
    reply = predict(line, None, [{"x2": -1.0, "x1": 2.0}, {"x1": 0.0}, {"x1": None, "x2": None}])

    assert listed(reply["predictions"]) == pytest.approx([11.6, 4.2 - 34, 4.2 - 34])


def test_a_model_with_several_targets_predicts_a_list_for_each_row(add: Add, predictor: Predictor):
    add("two", weights=[[1.0, 10.0], [2.0, 20.0]], bias=[0.5, 0.25], target=["y", "z"])

    reply = predict(predictor.load("two"), [[1.0, 1.0], [0.0, 2.0]], None)

    assert listed(reply["predictions"]) == [[3.5, 30.25], [4.5, 40.25]]


def test_categories_pick_their_weight_and_an_unknown_one_the_mean(add: Add, predictor: Predictor):
    add("rent", weights=[[1.0], [5.0], [3.0], [0.1]], bias=[100.0], features=[TOWN, X2])

    reply = predict(predictor.load("rent"), [["bonn", 0], ["köln", 0], ["ulm", 0], [None, None]], None)

    assert listed(reply["predictions"]) == pytest.approx([101.0, 105.0, 103.0, 104.0])


def test_a_softmax_model_predicts_the_most_probable_class(classifier: Loaded):
    reply = predict(classifier, [[-2.0], [2.0], [0.0]], None)

    assert reply["predictions"] == ["no", "yes", "no"]
    assert set(reply) == {"model", "predictions"}


def test_probabilities_come_when_asked_for_in_the_order_of_the_classes(classifier: Loaded):
    reply = predict(classifier, [[1.0]], None, ["probabilities"])

    total = 1 / np.e + np.e + 1
    assert listed(reply["probabilities"]) == [pytest.approx([1 / np.e / total, np.e / total, 1 / total])]
    assert reply["predictions"] == ["yes"]


def test_the_most_probable_classes_come_when_asked_for(classifier: Loaded):
    reply = predict(classifier, [[1.0]], None, top_k=2)

    assert [entry["class"] for entry in reply["top_k"][0]] == ["yes", "perhaps"]
    assert predict(classifier, [[1.0]], None, top_k=3)["top_k"][0][-1]["class"] == "no"
    assert "probabilities" not in reply


@pytest.mark.parametrize(("outputs", "top_k", "location"), [(["probabilities"], None, "outputs"), ([], 1, "top_k")])
def test_a_linear_model_is_not_asked_for_classes(line: Loaded, outputs: list[str], top_k: int | None, location: str):
    with pytest.raises(InvalidRequest) as caught:
        predict(line, [[0.0, 0.0]], None, outputs, top_k)

    assert caught.value.faults[0].location == location


def test_no_more_classes_are_named_than_there_are(classifier: Loaded):
    with pytest.raises(InvalidRequest, match="3 classes"):
        predict(classifier, [[1.0]], None, top_k=4)


def test_no_rows_are_refused_as_a_mistake(line: Loaded):
    for instances, records in (([], None), (None, [])):
        with pytest.raises(InvalidRequest, match="at least one"):
            predict(line, instances, records)


@pytest.mark.parametrize(
    ("instances", "location"),
    [([[1.0]], "row 1"), ([[1.0, 2.0], [1.0, "x"]], "row 2, column x2"), ([[1.0, float("nan")]], "row 1, column x2")],
)
def test_a_row_that_does_not_fit_is_refused_by_its_place(line: Loaded, instances: list[Any], location: str):
    with pytest.raises(InvalidInstances) as caught:
        predict(line, instances, None)

    assert caught.value.faults[0].location == location


def test_a_row_so_far_out_that_its_prediction_is_no_number_is_refused_too(add: Add, predictor: Predictor):
    add("steep", weights=[[1e10], [1.0]])

    with pytest.raises(InvalidInstances) as caught:
        predict(predictor.load("steep"), [[0.0, 0.0], [1e300, 0.0]], None)

    assert caught.value.faults[0].location.startswith("row 2")


def test_extreme_rows_of_a_classifier_have_probabilities_all_the_same(classifier: Loaded):
    reply = predict(classifier, [[1e300], [-1e300]], None, ["probabilities"])

    assert reply["predictions"] == ["yes", "no"]
    assert listed(reply["probabilities"]) == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
