from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets import distinct, integer_profile, number_profile, profile
from app.datasets.number_profile import QUANTILES
from app.datasets.profile import profile_array, profile_table
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
    monkeypatch.setattr(number_profile, "SAMPLE_ROWS", 100)

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
    assert list(about["quantiles"].values()) == pytest.approx(list(np.quantile(values, QUANTILES)))


def test_float_arrays_are_described(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(profile, "_CHUNK_BYTES", 64)
    values = np.random.default_rng(1).normal(size=(7, 2, 2)).astype(np.float32)

    about = profile_array("signal", values)

    assert about["mean"] == pytest.approx(values.mean(dtype=np.float64))
    assert about["std"] == pytest.approx(values.std(dtype=np.float64))
    assert (about["min"], about["max"]) == (values.min(), values.max())


def histogram_of(values: np.ndarray) -> dict[str, object]:
    counts, edges = np.histogram(values, 20)
    return {"start": edges[0], "width": pytest.approx(edges[1] - edges[0]), "counts": counts.tolist()}


@pytest.mark.parametrize("chunk", [7, 1 << 18])
@pytest.mark.parametrize("whole", [True, False])
def test_a_histogram_and_the_distinct_values_are_those_of_numpy(
    build: Build, monkeypatch: pytest.MonkeyPatch, whole: bool, chunk: int
):
    monkeypatch.setattr(profile, "CHUNK_ROWS", chunk)
    values = np.random.default_rng(3).integers(-50, 100, 500) / (1 if whole else 64)

    about = build({"a": pa.array(values.astype(int) if whole else values)}).description.columns[0]

    assert about["histogram"] == histogram_of(values)
    assert about["distinct"] == len(np.unique(values))
    assert (about["mean"], about["std"]) == (pytest.approx(values.mean()), pytest.approx(values.std()))
    assert list(about["quantiles"].values()) == pytest.approx(np.quantile(values, QUANTILES))
    assert "quantiles_approximate" not in about


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64()])
def test_few_whole_numbers_are_listed_as_classes_are(build: Build, kind: pa.DataType):
    about = build({"a": pa.array([3, 1, 3, None, 0, 3], kind)}).description.columns[0]

    assert about["categories"] == [{"value": 0, "count": 1}, {"value": 1, "count": 1}, {"value": 3, "count": 3}]
    assert about["distinct"] == 3


def test_one_value_throughout_is_one_bin(build: Build):
    about = build({"a": [2.5, 2.5], "b": [7, 7]}).description.columns

    assert [column["histogram"] for column in about] == [
        {"start": 2.5, "width": 0.0, "counts": [2]}, {"start": 7.0, "width": 0.0, "counts": [2]},
    ]  # fmt: skip


def test_what_comes_from_a_sample_is_close_and_says_so(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(number_profile, "SAMPLE_ROWS", 1000)
    monkeypatch.setattr(distinct, "KEPT", 1000)
    values = np.random.default_rng(4).uniform(0, 1, 20_000)

    about = build({"a": values}).description.columns[0]

    assert about["distinct"] == pytest.approx(20_000, rel=0.1)
    assert sum(about["histogram"]["counts"]) == pytest.approx(20_000, rel=0.01)
    assert about["distinct_approximate"]
    assert about["histogram_approximate"]
    assert (about["min"], about["max"], about["mean"]) == (values.min(), values.max(), pytest.approx(values.mean()))


def test_more_texts_than_can_be_tracked_are_counted_approximately(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(profile, "CHUNK_ROWS", 100)
    monkeypatch.setattr(profile, "MOST_TRACKED", 200)
    monkeypatch.setattr(distinct, "KEPT", 256)

    about = build({"a": [f"id{i}" if i % 2 else "often" for i in range(4000)]}).description.columns[0]

    assert about["categories"][0] == {"value": "often", "count": 2000}
    assert about["distinct"] == pytest.approx(2001, rel=0.25)
    assert about["categories_approximate"]
    assert about["distinct_approximate"]


def test_whole_numbers_have_the_same_profile_as_integers_and_as_floats(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(profile, "CHUNK_ROWS", 7)
    values = np.random.default_rng(3).integers(-50, 10_000, 500)

    integers, floats = (build({"a": pa.array(values, kind)}).description.columns for kind in (pa.int64(), pa.float64()))

    assert integers == floats


def test_a_late_fraction_among_whole_numbers_is_described(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(profile, "CHUNK_ROWS", 7)
    monkeypatch.setattr(number_profile, "HANDED_ROWS", 3)
    values = np.append(np.random.default_rng(3).integers(0, 9, 500), [0.5, 8]).astype(float)

    about = build({"a": values}).description.columns[0]

    assert about["mean"] == pytest.approx(values.mean())
    assert about["std"] == pytest.approx(values.std())
    assert about["distinct"] == 10
    assert list(about["quantiles"].values()) == pytest.approx(np.quantile(values, QUANTILES))


IDS = 1_152_921_504_606_846_976


def test_whole_numbers_beyond_what_float64_tells_apart_are_described_exactly(build: Build):
    ids = pa.array([IDS + 1, None, IDS + 23, IDS + 74, IDS + 23])

    about = build({"id": ids}).description.columns[0]

    assert (about["distinct"], about["min"], about["max"]) == (3, IDS + 1, IDS + 74)
    assert [type(about[name]) for name in ("min", "max")] == [int, int]
    assert about["std"] == pytest.approx(np.std([1, 23, 74, 23]))
    assert about["mean"] == pytest.approx(IDS + 30.25, rel=1e-15)
    assert [level["value"] - IDS for level in about["categories"]] == [1, 23, 74]
    assert sum(about["histogram"]["counts"]) == 4


@pytest.mark.parametrize("sampled", [False, True])
def test_integers_of_all_64_bits_are_counted(build: Build, monkeypatch: pytest.MonkeyPatch, sampled: bool):
    if sampled:
        monkeypatch.setattr(integer_profile, "SAMPLE_ROWS", 100)
        monkeypatch.setattr(number_profile, "SAMPLE_ROWS", 100)
    values = np.random.default_rng(5).integers(-(2**63), 2**63 - 1, 3000)
    values[1::2] = values[::2] + 1

    about = build({"id": values}).description.columns[0]

    assert about["distinct"] == len(np.unique(values))
    assert (about["min"], about["max"]) == (values.min(), values.max())
    assert about["mean"] == pytest.approx(values.astype(float).mean(), abs=1e6)
    near = 0.2 if sampled else 1e-3
    assert about["quantiles"]["0.25"] == pytest.approx(np.quantile(values.astype(float), 0.25), rel=near)
    assert ("quantiles_approximate" in about) == sampled


def test_a_text_that_all_rows_have_is_described_though_all_together_are_no_array(tmp_path: Path):
    text, rows = "y" * 132_000, 16_400  # more than 2 GiB, were each row to have its own
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array([text]))
    pq.write_table(pa.table({"a.b": texts, "n": np.zeros(rows)}), tmp_path / "t", store_schema=False)

    about = profile_table(tmp_path / "t", {})[0]

    assert about["categories"] == [{"value": text, "count": rows}]
