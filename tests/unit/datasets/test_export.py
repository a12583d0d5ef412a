import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from app.datasets import export
from app.datasets.export import csv_of, parquet_of
from app.datasets.readers.content import Content
from tests.unit.datasets.conftest import Build, images

TABLE = {
    "n": [1, None, 3],
    "c": ['a "b", c', None, "x\ny"],
    "b": [True, None, False],
    "t": pa.array([0, None, 86_400_000_000], pa.timestamp("us")),
}


@pytest.fixture(autouse=True, params=[1, 4 << 20])
def _blocks_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BLOCK_BYTES", request.param)


def test_what_is_downloaded_is_the_same_dataset_when_it_is_uploaded(build: Build):
    dataset = build(TABLE)

    for form, body in (("csv", csv_of(dataset, dataset.split("all"))), ("parquet", parquet_of(dataset))):
        assert build(b"".join(body), form).description.sha256 == dataset.description.sha256


def test_some_rows_as_csv_have_the_header_once(build: Build):
    dataset = build({"a": [1, 2, 3], "b": ["x", "y", "z"]})

    assert b"".join(csv_of(dataset, dataset.range("all", 1, 2))) == b'"a","b"\n2,"y"\n3,"z"\n'
    assert b"".join(csv_of(dataset, dataset.range("all", 9))) == b'"a","b"\n'


def test_images_are_lists_in_parquet_and_columns_in_csv(build: Build):
    dataset = build(images(4), "idx")

    again = build(b"".join(parquet_of(dataset)), "parquet", target="label")
    flat = build(b"".join(csv_of(dataset, dataset.split("all"))))

    assert np.array_equal(again.array("image"), dataset.array("image"))
    assert again.column("label") == dataset.column("label")
    assert list(flat.kinds) == [*(f"image[{i},{j}]" for i in range(3) for j in range(2)), "label"]
    assert flat.column("image[2,1]").to_pylist() == dataset.array("image")[:, 2, 1].tolist()


def test_the_parquet_file_is_whole_for_others_too(build: Build, tmp_path: Path):
    table = pyarrow.parquet.read_table(io.BytesIO(b"".join(parquet_of(build(TABLE)))))

    assert table.column("n").to_pylist() == TABLE["n"]
    assert table.column("c").to_pylist() == TABLE["c"]


def test_an_element_called_as_a_column_overwrites_none(build: Build):
    arrays = np.arange(4, dtype=np.float32).reshape(2, 2)
    found = build(Content(lambda: iter([pa.record_batch({"im[0]": [7, 8]})]), {"im": (arrays,)}))
    header, first, _ = b"".join(csv_of(found, slice(0, 2))).decode().splitlines()
    assert sorted(zip(header.split(","), first.split(","), strict=True)) == [
        ('"im[0] (2)"', "7"), ('"im[0]"', "0"), ('"im[1]"', "1"),
    ]  # fmt: skip
