"""Exports: a dataset's values as CSV or Parquet, block by block, so that no size is too large to send.

In CSV an array is a column for each of its elements, named as the features of a model are: `image[0,1]`. In Parquet
it is a list of its shape, which an upload reads as the same array again.
"""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv

from app.datasets.dataset import Dataset
from app.datasets.feature_encoding import element_names, told_apart

BLOCK_BYTES = 4 << 20


def csv_of(dataset: Dataset, rows: slice) -> Iterator[bytes]:
    """A range of rows as CSV with a header; missing values are empty."""
    header = True
    for block in _blocks(dataset, rows, flat=True):
        sink = io.BytesIO()
        csv.write_csv(block, sink, csv.WriteOptions(include_header=header, quoting_style="needed"))
        header = False
        yield sink.getvalue()
    if header:
        yield ",".join(_quoted(name) for name in _flat_names(dataset)).encode() + b"\n"


def parquet_of(dataset: Dataset) -> Iterator[bytes]:
    """All rows as a Parquet file."""
    sink = _Drain()
    writer: pq.ParquetWriter | None = None
    for block in _blocks(dataset, dataset.split("all"), flat=False):
        writer = writer or pq.ParquetWriter(sink, block.schema, compression="zstd")
        writer.write_table(block)
        yield sink.drained()
    if writer is not None:
        writer.close()
    yield sink.drained()


def _blocks(dataset: Dataset, rows: slice, flat: bool) -> Iterator[pa.Table]:
    """The columns in their order, some megabytes of rows at a time."""
    arrays = {name: dataset.array(name) for name in dataset.description.array_files}
    row_bytes = sum(array[0].nbytes for array in arrays.values()) + 8 * len(dataset.kinds)
    for start, scalars in dataset.blocks(None, rows, max(1, BLOCK_BYTES // row_bytes)):
        columns: list[Any] = []
        for name in dataset.kinds:
            if name not in arrays:
                columns.append(scalars.column(name))
            elif flat:
                columns += _elements(arrays[name][start : start + len(scalars)])
            else:
                columns.append(_lists(arrays[name][start : start + len(scalars)]))
        yield pa.table(columns, _flat_names(dataset) if flat else list(dataset.kinds))


def _elements(values: NDArray[Any]) -> list[NDArray[Any]]:
    return list(np.ascontiguousarray(values.reshape(len(values), -1).T))


def _lists(values: NDArray[Any]) -> pa.Array:
    nested = pa.array(np.ascontiguousarray(values).reshape(-1))
    for length in reversed(values.shape[1:]):
        nested = pa.FixedSizeListArray.from_arrays(nested, length)
    return nested


def _flat_names(dataset: Dataset) -> list[str]:
    arrays = dataset.description.array_files
    named = [element_names(name, dataset.shape(name)) if name in arrays else [name] for name in dataset.kinds]
    return told_apart(name for names in named for name in names)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class _Drain(io.RawIOBase):
    """A file to write to, whose bytes are taken away as they come."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def tell(self) -> int:
        return self._position

    def drained(self) -> bytes:
        """What was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
