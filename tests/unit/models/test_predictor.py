"""The predictor: models in memory, softmax, the most probable classes."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.database import Database
from app.errors import ModelNotFound
from app.models.prediction import softmax, top
from app.models.predictor import Predictor
from app.models.registry import Registry, key
from app.models.revision import Revision
from app.storage import Storage
from tests.unit.models.conftest import X1, Add

ONE = 3 * 8 + 2 * 120
"""Bytes of a model of two columns and one output: its numbers, and the names of its columns."""


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


def test_a_model_that_is_deleted_while_it_is_loaded_is_not_found(add: Add, predictor: Predictor, storage: Storage):
    row = add("line")
    storage.delete(key(row.id))  # its row was found a moment before

    with pytest.raises(ModelNotFound):
        predictor.load("line")


def test_the_model_used_longest_ago_leaves_when_memory_is_short(
    add: Add, database: Database, registry: Registry, storage: Storage
):
    predictor = Predictor(registry, storage, Revision(database), cached_bytes=2 * ONE)
    a, b, c = (add(name) for name in "abc")
    predictor.load("a"), predictor.load("b"), predictor.load("a")

    predictor.load("c")

    assert list(predictor._cache) == [a.id, c.id]
    assert predictor.load("b").row.id == b.id


def test_a_model_larger_than_the_memory_set_aside_is_served_all_the_same(
    add: Add, database: Database, registry: Registry, storage: Storage
):
    predictor = Predictor(registry, storage, Revision(database), cached_bytes=1)
    add("a")
    add("b")

    for name in "abab":
        assert predictor.load(name).row.name == name
        assert len(predictor._cache) == 0


def test_many_may_load_at_once(add: Add, database: Database, registry: Registry, storage: Storage):
    for name in "abcd":
        add(name)
    predictor = Predictor(registry, storage, Revision(database), cached_bytes=2 * ONE)

    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(lambda number: predictor.load("abcd"[number % 4]).row.name, range(100)))

    assert names == list("abcd") * 25


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

    best = top(probabilities, ["a", "b", "c"], 2)

    assert best == [
        [{"class": "b", "probability": 0.6}, {"class": "c", "probability": 0.3}],
        [{"class": "a", "probability": 0.4}, {"class": "c", "probability": 0.4}],
        [{"class": "c", "probability": 1.0}, {"class": "a", "probability": 0.0}],
    ]


def test_what_a_loaded_model_occupies_is_its_numbers_and_names(add: Add, predictor: Predictor):
    add("wide", weights=[[1.0, 2.0, 3.0]], bias=[0.0, 0.0, 0.0], features=[X1], classes=["a", "b", "c"])

    assert predictor.load("wide").bytes == 6 * 8 + 120
