"""The predictor: models in memory, softmax, the most probable classes."""

import math
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.datasets.feature_encoding import ArrayFeature, Feature, NumericFeature
from app.errors import DamagedFiles, ModelNotFound
from app.models.coefficient_errors import ERRORS_FILE, CoefficientErrors
from app.models.prediction import softmax, top
from app.models.predictor import Predictor
from app.models.registry import Registry, key
from app.models.statistics import Statistics
from app.models.weights import ENCODING_FILE, WEIGHTS_FILE
from app.storage import Storage
from app.tables import ModelRow
from tests.unit.models.conftest import TOWN, X1, Add, Make

WIDE = [NumericFeature(f"x{i}", 0.0) for i in range(50)]


def test_outputs_are_one_product_and_the_bias(add: Add, predictor: Predictor):
    add("line")

    assert predictor.load("line").outputs(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]])) == pytest.approx(
        np.array([[6.2], [0.8], [11.6]])
    )


def test_a_model_is_read_from_disk_once(add: Add, predictor: Predictor, storage: Storage):
    row = add("line")
    loaded = predictor.load("line")

    storage.delete(key(row.id))

    assert predictor.load(row.id) is loaded
    assert predictor.load("line:1") is loaded


def test_a_new_version_is_what_the_name_means_at_once(add: Add, predictor: Predictor):
    first = add("line", bias=[1.0])
    assert predictor.load("line").row.id == first.id

    second = add("line", bias=[2.0])

    assert predictor.load("line").row.id == second.id
    assert predictor.load("line").weights.bias.tolist() == [2.0]
    assert predictor.load("line:1").weights.bias.tolist() == [1.0]


def test_a_deleted_model_predicts_no_more_although_it_was_in_memory(add: Add, predictor: Predictor, registry: Registry):
    add("line")
    predictor.load("line")

    registry.delete("line")

    with pytest.raises(ModelNotFound):
        predictor.load("line")


def test_a_model_that_is_deleted_while_it_is_loaded_is_not_found(
    add: Add, predictor: Predictor, registry: Registry, monkeypatch: pytest.MonkeyPatch
):
    row = add("line")

    def found_just_before(reference: str) -> ModelRow:
        registry.delete(reference)
        return row

    monkeypatch.setattr(registry, "get", found_just_before)

    with pytest.raises(ModelNotFound):
        predictor.load("line")


@pytest.mark.parametrize("part", ["folder", WEIGHTS_FILE, ENCODING_FILE, ERRORS_FILE])
@pytest.mark.parametrize("damage", ["gone", "cut off", "garbled"])
def test_a_model_that_is_there_but_not_its_files_says_what_to_do(
    add: Add, predictor: Predictor, storage: Storage, part: str, damage: str
):
    row = add("line", coefficient_errors=CoefficientErrors(np.zeros((3, 1)), 7))
    folder = storage.path(key(row.id))
    if part == "folder":
        shutil.rmtree(folder)
    elif damage == "gone" and part != ERRORS_FILE:  # which models of before have not
        (folder / part).unlink()
    elif damage == "cut off":
        os.truncate(folder / part, (folder / part).stat().st_size // 2)
    else:
        (folder / part).write_bytes(b"{}garbage")

    with pytest.raises(DamagedFiles, match=f"models/{row.id}.*backup.*DELETE"):
        predictor.load("line")


def test_the_model_used_longest_ago_leaves_when_memory_is_short(add: Add, predictor: Predictor, make_predictor: Make):
    a, b, c = (add(name) for name in "abc")
    predictor = make_predictor(2 * predictor.load("a").bytes)
    predictor.load("a"), predictor.load("b"), predictor.load("a")

    predictor.load("c")

    assert list(predictor._cache) == [a.id, c.id]
    assert predictor.load("b").row.id == b.id


def test_a_model_larger_than_the_memory_set_aside_is_read_once_and_displaces_no_other(
    add: Add, predictor: Predictor, make_predictor: Make, storage: Storage
):
    small, large, larger = add("small"), *(add(name, weights=np.zeros((50, 1)), features=WIDE) for name in ("l", "xl"))
    predictor = make_predictor(2 * predictor.load("small").bytes)
    kept = [predictor.load(name) for name in ("small", "l")]
    for row in (small, large):
        storage.delete(key(row.id))  # what is read again is not there

    assert [predictor.load(name) for name in ("small", "l", "small", "l")] == kept * 2
    assert predictor.load("xl").row.id == larger.id  # takes the place of the one as large
    assert predictor.load("small") is kept[0]
    with pytest.raises(DamagedFiles):
        predictor.load("l")
    assert predictor._bytes == kept[0].bytes


def test_many_may_load_at_once(add: Add, predictor: Predictor, make_predictor: Make):
    for name in "abcd":
        add(name)
    predictor = make_predictor(2 * predictor.load("a").bytes)

    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(lambda number: predictor.load("abcd"[number % 4]).row.name, range(100)))

    assert names == list("abcd") * 25
    assert predictor._bytes == sum(loaded.bytes for loaded in predictor._cache.values()) <= predictor._cached_bytes


def test_only_what_is_in_memory_is_given_without_a_look_at_the_database(
    add: Add, predictor: Predictor, registry: Registry
):
    add("line")
    assert predictor.cached("line") is None
    loaded = predictor.load("line")

    assert predictor.cached("line") is loaded
    assert predictor.cached("line:1") is None  # what this means was never asked

    add("line")
    assert predictor.cached("line") is None
    registry.delete("line:2")
    assert predictor.cached("line") is None
    assert predictor.load("line") is loaded


@pytest.mark.parametrize(
    ("features", "width"),
    [
        ([X1], 1),
        ([X1, NumericFeature("x2", 0.0)], 2),
        ([ArrayFeature("image", (2, 3), pixels=True)], 6),
        ([X1, TOWN], None),
        ([NumericFeature("new", 0.5, boolean=True)], None),
        ([NumericFeature("x2", 0.0, indicator=True)], None),
    ],
)
def test_rows_go_into_the_matrix_as_they_are_where_no_feature_needs_encoding(
    add: Add, predictor: Predictor, features: list[Feature], width: int | None
):
    columns = sum(len(feature.names) for feature in features)
    add("any", weights=np.zeros((columns, 1)), features=features)

    assert predictor.load("any").plain_width == width


# ── softmax ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_softmax_is_its_formula():
    logits = np.random.default_rng(0).normal(size=(20, 7))

    expected = [[math.exp(value) / sum(map(math.exp, row)) for value in row] for row in logits.tolist()]

    assert softmax(logits) == pytest.approx(np.array(expected), rel=1e-14)


def test_only_differences_of_logits_matter():
    logits = np.array([[1.0, 2.0, 4.0]])

    assert softmax(logits + 1000) == pytest.approx(softmax(logits), rel=1e-12)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([1000.0, 0.0], [1.0, 0.0]),
        ([-1000.0, 0.0], [0.0, 1.0]),
        ([-1e300, -1e300], [0.5, 0.5]),
        ([1e300, -1e300, 1e300], [0.5, 0.0, 0.5]),
        ([1e308, -1e308], [1.0, 0.0]),
        ([-np.inf, 0.0], [0.0, 1.0]),
        ([0.0], [1.0]),
    ],
)
def test_extreme_logits_do_not_overflow(logits: list[float], expected: list[float]):
    assert softmax(np.array([logits])).tolist() == [expected]


def test_no_rows_have_no_probabilities():
    assert softmax(np.zeros((0, 3))).shape == (0, 3)


def test_the_most_probable_classes_come_first_and_equal_ones_in_their_order():
    probabilities = np.array([[0.1, 0.6, 0.3], [0.4, 0.2, 0.4], [0.0, 0.0, 1.0]])

    best = top(probabilities, probabilities, ["a", "b", "c"], 2)

    assert best == [
        [{"class": "b", "probability": 0.6}, {"class": "c", "probability": 0.3}],
        [{"class": "a", "probability": 0.4}, {"class": "c", "probability": 0.4}],
        [{"class": "c", "probability": 1.0}, {"class": "a", "probability": 0.0}],
    ]


def test_what_a_loaded_model_occupies_is_its_numbers_and_the_names_of_its_columns(add: Add, predictor: Predictor):
    wide = {"weights": [[1.0, 2.0, 3.0]], "bias": [0.0, 0.0, 0.0], "features": [X1], "classes": ["a", "b", "c"]}
    add("bare", **wide)
    add("told", **wide, statistics=Statistics(*np.zeros((3, 1))), coefficient_errors=CoefficientErrors(np.ones((2, 3))))

    assert predictor.load("bare").bytes == 6 * 8 + 120
    assert predictor.load("told").bytes == 6 * 8 + 120 + 3 * 8 + 6 * 8
