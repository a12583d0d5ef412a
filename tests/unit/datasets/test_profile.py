import numpy as np
import pytest

from app.datasets import profile
from app.datasets.profile import QUANTILES, profile_array
from tests.unit.datasets.conftest import Build


def test_numbers_are_described_as_numpy_describes_them(build: Build):
    values = np.random.default_rng(0).normal(5, 2, 999)

    about = build({"a": values}).description.columns[0]

    assert about["mean"] == pytest.approx(values.mean())
    assert about["std"] == pytest.approx(values.std())
    assert (about["min"], about["max"]) == (values.min(), values.max())
    assert list(about["quantiles"].values()) == pytest.approx(np.quantile(values, QUANTILES))


def test_missing_values_are_counted_and_left_out_of_the_statistics(build: Build):
    about = build({"a": [1.0, None, 3.0, float("nan")]}).description.columns[0]

    assert (about["missing"], about["mean"], about["std"]) == (2, 2.0, 1.0)


def test_categories_are_listed_by_their_count(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(profile, "MOST_CATEGORIES", 2)

    about = build({"a": ["z", "y", "y", "x", None, "z", "y"], "b": [True, False, True, True, None, True, True]})

    text, flag = about.description.columns
    assert text["categories"] == [{"value": "y", "count": 3}, {"value": "z", "count": 2}]
    assert (text["distinct"], text["missing"]) == (3, 1)
    assert flag["categories"] == [{"value": True, "count": 5}, {"value": False, "count": 1}]


def test_a_long_column_says_that_its_quantiles_are_approximate(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(profile, "SAMPLE_ROWS", 100)

    about = build({"a": np.random.default_rng(0).uniform(0, 1, 1001)}).description.columns[0]

    assert about["quantiles_approximate"] is True
    assert about["quantiles"]["0.5"] == pytest.approx(0.5, abs=0.2)


def test_columns_that_are_read_in_groups_are_all_described(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(profile, "_GROUP_BYTES", 8 * 3 * 2)

    columns = build({f"c{i}": [i, i, i + 3] for i in range(5)}).description.columns

    assert [column["mean"] for column in columns] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("shape", [(5, 4), (3, 3, 3), (1, 1)])
def test_pixels_are_described_exactly(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]):
    monkeypatch.setattr(profile, "_CHUNK_BYTES", 6)
    values = np.random.default_rng(1).integers(3, 256, shape).astype(np.uint8)

    about = profile_array("image", values)

    assert about["shape"] == list(shape[1:])
    assert about["mean"] == pytest.approx(values.mean())
    assert about["std"] == pytest.approx(values.std())
    assert (about["min"], about["max"]) == (values.min(), values.max())
    assert list(about["quantiles"].values()) == list(np.quantile(values, QUANTILES, method="lower"))


def test_float_arrays_are_described(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(profile, "_CHUNK_BYTES", 64)
    values = np.random.default_rng(1).normal(size=(7, 2, 2)).astype(np.float32)

    about = profile_array("signal", values)

    assert about["mean"] == pytest.approx(values.mean(dtype=np.float64))
    assert about["std"] == pytest.approx(values.std(dtype=np.float64))
    assert (about["min"], about["max"]) == (values.min(), values.max())
