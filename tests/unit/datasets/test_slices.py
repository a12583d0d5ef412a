"""Batches in which a text stands once for many rows."""

import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets import slices
from tests.unit.datasets.conftest import Build

TEXTS = ["ab", None, "ü", "", "abcdefgh", "a"]
"""Of 2, 0, 2, 0, 8 and 1 bytes."""


@pytest.fixture
def pool() -> Iterator[pa.MemoryPool]:
    before = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(before)
    pa.set_memory_pool(counting)
    yield counting
    pa.set_memory_pool(before)


@pytest.mark.parametrize(
    "texts",
    [
        pa.array(TEXTS).dictionary_encode(),
        pa.array(["x", *TEXTS]).dictionary_encode().slice(1),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3, 4, 5]), pa.array(TEXTS)),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3, 4, 5]), pa.array(TEXTS, pa.string_view())),
        pa.array(TEXTS, pa.large_string()),
        pa.array(["x", *TEXTS], pa.string_view()).slice(1),
    ],
)
def test_a_batch_is_cut_by_the_bytes_of_its_texts(monkeypatch: pytest.MonkeyPatch, texts: pa.Array) -> None:
    monkeypatch.setattr(slices, "SLICE_BYTES", 4)
    batch = pa.record_batch({"a": texts, "n": range(6)})

    pieces = list(slices.slices(batch))

    assert [len(piece) for piece in pieces] == [4, 1, 1]
    assert pa.Table.from_batches(pieces).to_pylist() == batch.to_pylist()


@pytest.mark.parametrize("column", [pa.array(TEXTS), pa.array([None] * 6).cast(pa.string()).dictionary_encode()])
def test_texts_that_lie_there_in_full_or_are_missing_stay_together(
    monkeypatch: pytest.MonkeyPatch, column: pa.Array
) -> None:
    monkeypatch.setattr(slices, "SLICE_BYTES", 4)

    assert [len(piece) for piece in slices.slices(pa.record_batch({"a": column}))] == [6]


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_text_of_many_rows_is_in_memory_once(build: Build, pool: pa.MemoryPool, form: str) -> None:
    text, rows = "y" * 60_000, 10_000  # 600 MB, were each row to have its own
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array([text]))
    table = pa.table({"a": texts, "n": np.zeros(rows)})
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, sink, store_schema=False)
    else:
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)

    dataset = build(sink.getvalue(), form)

    assert dataset.description.columns[0]["categories"] == [{"value": text, "count": rows}]
    assert pool.max_memory() < 200 << 20
    assert (dataset.folder / "table.parquet").stat().st_size < 20 << 20
