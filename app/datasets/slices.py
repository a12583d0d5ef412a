"""Slices: a batch in which a text may stand once for many rows is cut before each of them gets its own.

A dictionary of one text makes gigabytes of a few kilobytes, and one array holds 2 GiB of text at most.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SLICE_BYTES = 16 << 20
_VIEW_INTS = 4
"""A view of a text is four integers of 32 bits, the first of them the text's length."""


def slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in pieces with texts of so many bytes, at least a row each; those that lie there in full stay."""
    columns = [column for column in batch.columns if _may_grow(column.type)]
    ends = np.cumsum(sum(_lengths(column) for column in columns)) if columns else np.zeros(1)
    if not len(ends) or ends[-1] <= SLICE_BYTES:
        yield batch
        return
    start = before = 0
    while start < len(batch):
        stop = max(start + 1, int(np.searchsorted(ends, before + SLICE_BYTES, "right")))
        yield batch.slice(start, stop - start)
        start, before = stop, int(ends[stop - 1])


def spread_bytes(column: pa.Array) -> int:
    """What the texts of a column take once each row has its own; 0 where they lie there in full."""
    return int(_lengths(column).sum()) if _may_grow(column.type) and not pa.types.is_large_string(column.type) else 0


def _may_grow(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        return pa.types.is_string(kind) or _may_grow(kind)
    return bool(pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _lengths(texts: pa.Array) -> NDArray[np.int64]:
    """How many bytes each text has; zero where one is missing."""
    if not len(texts):
        return np.zeros(0, np.int64)  # there may be no buffer
    if pa.types.is_dictionary(texts.type):
        found = pa.array(_lengths(texts.dictionary)).take(texts.indices)
    elif pa.types.is_string_view(texts.type):
        views = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset * _VIEW_INTS :: _VIEW_INTS]
        found = pc.if_else(texts.is_valid(), pa.array(views[: len(texts)], pa.int64()), 0)
    else:
        found = pc.binary_length(texts)
    lengths: NDArray[np.int64] = pc.fill_null(found, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths
