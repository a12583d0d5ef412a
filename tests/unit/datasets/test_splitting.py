import numpy as np
import pytest

from app.datasets import table_writer
from app.datasets.readers import records
from app.datasets.splitting import Part, count, split
from app.errors import InvalidSpec
from tests.unit.datasets.conftest import Build, images


def with_test_split(build: Build):
    return build({**images(10), **{f"test_{part}": body for part, body in images(4).items()}}, "idx")


def test_without_validation_the_training_split_trains_and_the_test_split_does_not(build: Build):
    parts = split(with_test_split(build), None, 0)

    assert (parts.train.rows, parts.validation) == (slice(0, 10), None)


def test_the_test_split_validates(build: Build):
    parts = split(with_test_split(build), {"split": "test"}, 0)

    assert (parts.train.rows, parts.validation.rows) == (slice(0, 10), slice(10, 14))


def test_a_test_split_that_is_not_there_is_an_error_that_says_what_to_use(build: Build):
    with pytest.raises(InvalidSpec, match="fraction"):
        split(build({"a": [1, 2]}), {"split": "test"}, 0)


def test_a_fraction_is_drawn_from_the_training_split_by_the_seed(build: Build):
    dataset = with_test_split(build)

    first, same, other = (split(dataset, {"fraction": 0.3}, seed) for seed in (1, 1, 2))

    rows = np.concatenate([first.train.rows, first.validation.rows])
    assert sorted(rows) == list(range(10))
    assert count(first.validation.rows) == 3
    assert np.array_equal(first.validation.rows, np.sort(np.random.default_rng(1).permutation(10)[:3]))
    assert np.array_equal(first.validation.rows, same.validation.rows)
    assert not np.array_equal(first.validation.rows, other.validation.rows)


def test_a_fraction_of_some_rows_is_drawn_from_them_alone(build: Build):
    dataset = build({"a": list(range(10))})

    parts = split(dataset, {"fraction": 0.25}, 0, rows=np.array([1, 4, 5, 9]))

    assert sorted([*parts.train.rows, *parts.validation.rows]) == [1, 4, 5, 9]
    assert (len(parts.train), len(parts.validation)) == (3, 1)


def test_another_dataset_validates_whole(build: Build):
    dataset, other = build({"a": [1, 2, 3]}), build({"a": [4, 5]})

    parts = split(dataset, {"dataset": "other"}, 0, other)

    assert (parts.train.dataset, len(parts.train)) == (dataset, 3)
    assert (parts.validation.dataset, len(parts.validation)) == (other, 2)


def test_one_row_cannot_be_split(build: Build):
    with pytest.raises(InvalidSpec):
        split(build({"a": [1]}), {"fraction": 0.5}, 0)


def test_texts_of_several_row_groups_are_not_laid_end_to_end(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(records, "_BATCH_CELLS", 1000)
    monkeypatch.setattr(table_writer, "_COLUMN_BYTES", 1)
    monkeypatch.setattr(table_writer, "_GROUP_BYTES", 1)
    lines = b"\n".join(b'{"a": "%d"}' % row for row in range(5000))
    part = Part(build(lines, "ndjson"), np.arange(0, 5000, 2))

    ((start, columns),) = part.blocks(["a"])

    assert start == 0
    assert columns["a"].to_pylist() == [str(row) for row in range(0, 5000, 2)]
    assert columns["a"].num_chunks > 1
