"""A prediction, as /predict answers it."""

from typing import Any

import numpy as np
import pytest

from app.datasets.feature_encoding import NumericFeature
from app.errors import InvalidInstances, InvalidRequest, TooLarge
from app.models import bodies
from app.models import predictor as module
from app.models.bodies import CSV, answer_body, answer_records, answer_rows
from app.models.prediction import PLAIN, Wish, predict
from app.models.predictor import Loaded, Predictor
from app.models.statistics import Statistics
from tests.unit.models.conftest import TOWN, X1, X2, Add

CLASSES = ["no", "yes", "perhaps"]
MOST_ROWS = 100
PROBABILITIES = Wish(frozenset(["probabilities"]))


@pytest.fixture
def line(add: Add, predictor: Predictor) -> Loaded:
    add("line")
    return predictor.load("line")


@pytest.fixture
def classifier(add: Add, predictor: Predictor) -> Loaded:
    """Three classes, whose logits are −x1, x1 and 0."""
    add("opinion", weights=[[-1.0, 1.0, 0.0]], bias=[0.0, 0.0, 0.0], features=[X1], classes=CLASSES)
    return predictor.load("opinion")


def ask(loaded: Loaded, instances: list[Any], wish: Wish = PLAIN) -> dict[str, Any]:
    """The reply to rows in feature order."""
    return answer_rows(loaded, instances, wish, MOST_ROWS).to_json()


def listed(values: Any) -> Any:
    return np.asarray(values).tolist()


def test_the_reply_names_the_model_that_answered(line: Loaded):
    assert ask(line, [[0.0, 0.0]])["model"] == {"id": line.row.id, "name": "line", "version": 1}


def test_a_linear_model_predicts_a_number_for_each_row(line: Loaded):
    reply = ask(line, [[2.0, -1.0], [0.5, 0.5]])

    assert listed(reply["predictions"]) == pytest.approx([11.6, 3.5])
    assert set(reply) == {"model", "predictions"}


def test_records_mean_the_same_as_rows_and_a_missing_value_is_the_mean(line: Loaded):
    records = [{"x2": -1.0, "x1": 2.0}, {"x1": 0.0}, {"x1": None, "x2": None}]
    reply = answer_records(line, records, PLAIN, MOST_ROWS).to_json()

    assert listed(reply["predictions"]) == pytest.approx([11.6, 4.2 - 34, 4.2 - 34])


def test_a_model_with_several_targets_predicts_a_list_for_each_row(add: Add, predictor: Predictor):
    add("two", weights=[[1.0, 10.0], [2.0, 20.0]], bias=[0.5, 0.25], target=["y", "z"])

    reply = ask(predictor.load("two"), [[1.0, 1.0], [0.0, 2.0]])

    assert listed(reply["predictions"]) == [[3.5, 30.25], [4.5, 40.25]]


def test_categories_pick_their_weight_and_an_unknown_one_the_mean(add: Add, predictor: Predictor):
    add("rent", weights=[[1.0], [5.0], [3.0], [0.1]], bias=[100.0], features=[TOWN, X2])

    reply = ask(predictor.load("rent"), [["bonn", 0], ["köln", 0], ["ulm", 0], [None, None]])

    assert listed(reply["predictions"]) == pytest.approx([101.0, 105.0, 103.0, 104.0])


def test_a_softmax_model_predicts_the_most_probable_class(classifier: Loaded):
    reply = ask(classifier, [[-2.0], [2.0], [0.0]])

    assert reply["predictions"] == ["no", "yes", "no"]
    assert set(reply) == {"model", "predictions"}


def test_probabilities_come_when_asked_for_in_the_order_of_the_classes(classifier: Loaded):
    reply = ask(classifier, [[1.0]], PROBABILITIES)

    total = 1 / np.e + np.e + 1
    assert listed(reply["probabilities"]) == [pytest.approx([1 / np.e / total, np.e / total, 1 / total])]
    assert reply["predictions"] == ["yes"]


def test_the_most_probable_classes_come_when_asked_for(classifier: Loaded):
    reply = ask(classifier, [[1.0]], Wish(top_k=2))

    assert [entry["class"] for entry in reply["top_k"][0]] == ["yes", "perhaps"]
    assert ask(classifier, [[1.0]], Wish(top_k=3))["top_k"][0][-1]["class"] == "no"
    assert "probabilities" not in reply


@pytest.mark.parametrize(("outputs", "top_k", "location"), [(["probabilities"], None, "outputs"), ([], 1, "top_k")])
def test_a_linear_model_is_not_asked_for_classes(line: Loaded, outputs: list[str], top_k: int | None, location: str):
    with pytest.raises(InvalidRequest) as caught:
        ask(line, [[0.0, 0.0]], Wish(frozenset(outputs), top_k))

    assert caught.value.faults[0].location == location


def test_no_more_classes_are_named_than_there_are(classifier: Loaded):
    with pytest.raises(InvalidRequest, match="3 classes"):
        ask(classifier, [[1.0]], Wish(top_k=4))


def test_no_rows_have_no_predictions(line: Loaded, classifier: Loaded):
    assert listed(predict(line, np.zeros((0, 2))).predictions) == []
    answer = predict(classifier, np.zeros((0, 1)), Wish(frozenset(["probabilities"]), top_k=2))
    assert (listed(answer.predictions), listed(answer.probabilities), answer.top_k) == ([], [], [])


@pytest.mark.parametrize(
    ("instances", "location"),
    [([[1.0]], "row 1"), ([[1.0, 2.0], [1.0, "x"]], "row 2, column x2"), ([[1.0, float("nan")]], "row 1, column x2")],
)
def test_a_row_that_does_not_fit_is_refused_by_its_place(line: Loaded, instances: list[Any], location: str):
    with pytest.raises(InvalidInstances) as caught:
        ask(line, instances)

    assert caught.value.faults[0].location == location


def test_a_row_so_far_out_that_its_prediction_is_no_number_is_refused_too(add: Add, predictor: Predictor):
    add("steep", weights=[[1e10], [1.0]])

    with pytest.raises(InvalidInstances) as caught:
        ask(predictor.load("steep"), [[0.0, 0.0], [1e300, 0.0]])

    assert caught.value.faults[0].location.startswith("row 2")


def test_extreme_rows_of_a_classifier_have_probabilities_all_the_same(classifier: Loaded):
    reply = ask(classifier, [[1e300], [-1e300]], PROBABILITIES)

    assert reply["predictions"] == ["yes", "no"]
    assert listed(reply["probabilities"]) == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_a_missing_value_has_its_own_weight_where_the_model_has_one_for_it(add: Add, predictor: Predictor):
    rooms = NumericFeature("rooms", 3.0, indicator=True)
    add("flats", weights=[[1.0], [50.0]], bias=[0.0], features=[rooms])
    flats = predictor.load("flats")

    assert listed(ask(flats, [[2.0], [None]])["predictions"]) == [2.0, 53.0]
    assert listed(ask(flats, [[2.0], [4.0]])["predictions"]) == [2.0, 4.0]
    assert listed(answer_body(flats, CSV, b"rooms\n2\nNA\n", PLAIN, MOST_ROWS).predictions) == [2.0, 53.0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_csv_is_the_one_that_makes_its_header_the_models_columns(line: Loaded, delimiter: str):
    body = f"x2{delimiter}x1\n-1{delimiter}2\n{delimiter}2\n".encode()

    assert answer_body(line, CSV, body, PLAIN, MOST_ROWS).predictions == pytest.approx([11.6, 8.2 - 34])


def test_a_csv_whose_columns_are_others_is_refused_by_those_that_commas_make(line: Loaded):
    with pytest.raises(InvalidInstances) as refused:
        answer_body(line, CSV, b"x1,x3;x2\n1,2;3\n", PLAIN, MOST_ROWS)

    assert [fault.location for fault in refused.value.faults] == ["column x2", "column x3;x2"]


# ── many rows ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def batches_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", 3)


@pytest.mark.usefixtures("batches_of_three")
@pytest.mark.parametrize("of_array", [False, True])
def test_batches_together_say_what_the_rows_say_at_once(line: Loaded, of_array: bool):
    values = np.random.default_rng(0).normal(size=(10, 2))
    rows: Any = values if of_array else values.tolist()

    answer = answer_rows(line, rows, PLAIN, MOST_ROWS)

    assert answer.predictions == pytest.approx(values @ [2.0, -3.4] + 4.2)
    records = [{"x1": a, "x2": b} for a, b in values.tolist()]
    assert answer_records(line, records, PLAIN, MOST_ROWS).predictions == pytest.approx(answer.predictions)


@pytest.mark.usefixtures("batches_of_three")
def test_a_fault_in_a_later_batch_names_its_row(line: Loaded, add: Add, predictor: Predictor):
    add("rent", weights=[[1.0], [5.0], [3.0], [0.1]], bias=[100.0], features=[TOWN, X2])
    rent = predictor.load("rent")
    good: list[Any] = [["bonn", 1.0]] * 7
    cases = [
        (lambda: answer_rows(rent, [*good, ["bonn", "x"]], PLAIN, MOST_ROWS), "row 8, column x2"),
        (lambda: answer_rows(rent, [*good, ["bonn"]], PLAIN, MOST_ROWS), "row 8"),
        (lambda: answer_rows(line, [[1.0, 2.0]] * 7 + [[1.0, float("nan")]], PLAIN, MOST_ROWS), "row 8, column x2"),
        (lambda: answer_rows(line, [[1.0, 2.0]] * 7 + [[1.7e308, -1e308]], PLAIN, MOST_ROWS), "row 8"),
        (lambda: answer_records(line, [{"x1": 1.0, "x2": 2.0}] * 7 + [{"y": 1}], PLAIN, MOST_ROWS), "row 8, column y"),
    ]
    for ask_for, location in cases:
        with pytest.raises(InvalidInstances) as refused:
            ask_for()
        assert [fault.location for fault in refused.value.faults] == [location]


def test_more_contributions_than_a_reply_can_hold_are_refused_over_all_batches(
    add: Add, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "BATCH_ROWS", 3)
    monkeypatch.setattr(bodies, "MOST_CONTRIBUTIONS", 10)  # five rows of two features
    add("told", statistics=Statistics(*np.arange(6.0).reshape(3, 2)))
    told, wish = predictor.load("told"), Wish(frozenset(["contributions"]))

    assert len(answer_rows(told, [[1.0, 2.0]] * 5, wish, MOST_ROWS).to_json()["contributions"]["values"]) == 5
    with pytest.raises(TooLarge, match="5 rows at a time"):
        answer_rows(told, [[1.0, 2.0]] * 6, wish, MOST_ROWS)
    with pytest.raises(TooLarge, match="5 rows at a time"):
        answer_body(told, CSV, b"x1,x2\n" + b"1,2\n" * 6, wish, MOST_ROWS)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.longdouble])
def test_rows_in_any_order_of_memory_have_contributions_that_can_be_written(
    add: Add, predictor: Predictor, kind: type[np.floating[Any]]
):
    weights = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    statistics = Statistics(*np.zeros((3, 2)))
    add("three", weights=weights, bias=[0.0] * 3, classes=["a", "b", "c"], statistics=statistics)
    rows = np.asfortranarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], kind)

    values = predict(predictor.load("three"), rows, Wish(frozenset(["contributions"]))).to_json()["contributions"][
        "values"
    ]

    assert values.flags.c_contiguous
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, rows[:, :, None] * np.array(weights))


def test_the_first_of_the_most_probable_classes_is_the_prediction(add: Add, predictor: Predictor):
    add("close", weights=[[0.0, 0.0]], bias=[0.0, 1e-17], features=[X1], classes=["a", "b"])

    reply = ask(predictor.load("close"), [[1.0]], Wish(top_k=2))

    assert (reply["predictions"], reply["top_k"][0][0]["class"]) == (["b"], "b")
