"""What holds for all arrays: they survive every format that has arrays, IDX and NPZ among them, bit for bit."""

import io
import tempfile
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.datasets.dataset import Dataset
from app.datasets.export import parquet_of
from app.datasets.ingest import Choices, ingest
from app.datasets.readers import FORMATS, IDX
from app.datasets.readers.upload import Upload

READERS = {form.name: form for form in (*FORMATS, IDX)}
shapes = arrays.array_shapes(min_dims=2, max_dims=4, max_side=5)
bytes_ = shapes.flatmap(lambda shape: arrays.arrays(np.uint8, shape))
floats = shapes.flatmap(
    lambda shape: arrays.arrays(np.float32, shape, elements=st.floats(-(2.0**100), 2.0**100, width=32))
)


def read(form: str, parts: dict[str, bytes], folder: Path) -> Dataset:
    files = {}
    for name, body in parts.items():
        files[name] = folder / name
        files[name].write_bytes(body)
    (folder / "dataset").mkdir()
    ingest(READERS[form].read(Upload(files, 1 << 30)), folder / "dataset", Choices())
    return Dataset.open(folder / "dataset")


def written(form: str, values: np.ndarray) -> dict[str, bytes]:
    labels, sink = np.arange(len(values)) % 3, io.BytesIO()
    table = pa.table({"a": pa.array(values.tolist(), _list_type(values)), "y": labels})
    if form == "parquet":
        pyarrow.parquet.write_table(table, sink, row_group_size=2)
    elif form == "arrow":
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table, max_chunksize=2)
    else:
        sink.write(b"\n".join(orjson.dumps(row) for row in table.to_pylist()))
    return {"file": sink.getvalue()}


def _list_type(values: np.ndarray) -> pa.DataType:
    kind = pa.from_numpy_dtype(values.dtype)
    for _ in values.shape[1:]:
        kind = pa.list_(kind)
    return kind


@pytest.mark.parametrize("form", ["parquet", "arrow", "ndjson"])
@settings(max_examples=40, deadline=None)
@given(values=st.one_of(bytes_, floats))
def test_arrays_survive_every_format_of_lists(form: str, values: np.ndarray):
    with tempfile.TemporaryDirectory() as folder:
        dataset = read(form, written(form, values), Path(folder))

        assert np.array_equal(dataset.array("a"), values)
        assert dataset.array("a").dtype == (np.float32 if form == "ndjson" else values.dtype)
        again = Path(folder) / "again"
        again.mkdir()
        copy = read("parquet", {"file": b"".join(parquet_of(dataset))}, again)
        assert copy.description.sha256 == dataset.description.sha256


@settings(max_examples=40, deadline=None)
@given(values=bytes_.filter(lambda values: values.ndim >= 2))
def test_bytes_survive_idx(values: np.ndarray):
    labels = (np.arange(len(values)) % 3).astype(np.uint8)
    parts = {name: _idx(part) for name, part in (("images", values), ("labels", labels))}
    with tempfile.TemporaryDirectory() as folder:
        dataset = read("idx", parts, Path(folder))

        assert np.array_equal(dataset.array("image"), values)
        assert dataset.column("label").to_pylist() == [str(label) for label in labels]


@settings(max_examples=40, deadline=None)
@given(values=st.one_of(bytes_, floats), test=st.booleans())
def test_arrays_and_matrices_survive_npz(values: np.ndarray, test: bool):
    y, sink = np.arange(len(values)), io.BytesIO()
    pair = {"X_test": values, "y_test": y} if test else {}
    np.savez_compressed(sink, X=values, y=y, **pair)
    with tempfile.TemporaryDirectory() as folder:
        dataset = read("npz", {"file": sink.getvalue()}, Path(folder))

        for split in ("train", "test") if test else ("train",):
            rows = dataset.read(split)
            assert [row["y"] for row in rows] == y.tolist()
            if values.ndim == 2:
                found = [[row[f"x{number}"] for number in range(1, values.shape[1] + 1)] for row in rows]
            else:
                found = [row["X"] for row in rows]
            assert found == values.tolist()


def _idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()
