"""Content hash: one sha256 for a dataset's values, the same whatever format and batches they came in.

Of each column these streams are hashed: the values (numbers as little-endian float64, booleans as bytes,
texts as their lengths and their UTF-8, date-times as microseconds), with a zero in place of each missing
value, the positions of the missing values, and, where there are any, the whole numbers that no float64 is,
with their positions. The digest of the dataset is the hash of the columns' names, kinds and digests.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_EXACT = 2**53
"""Up to it float64 holds every whole number."""


class TableHash:
    """The hash of each column of a table, fed batch by batch."""

    def __init__(self) -> None:
        self._columns: dict[str, _ColumnHash] = {}
        self._rows = 0

    def update(self, batch: pa.RecordBatch) -> None:
        """Take in the rows of a batch, whose columns have their stored types."""
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if name not in self._columns:
                self._columns[name] = _ColumnHash(column.type)
            self._columns[name].update(column, self._rows)
        self._rows += len(batch)

    def digests(self) -> dict[str, bytes]:
        """The digest of each column."""
        return {name: column.digest() for name, column in self._columns.items()}


def content_sha256(digests: Mapping[str, bytes], kinds: Mapping[str, str], splits: Mapping[str, int]) -> str:
    """The hash of a whole dataset: columns in their order, and how the rows are split."""
    whole = hashlib.sha256(repr(sorted(splits.items())).encode())
    for name, kind in kinds.items():
        head = name.encode()
        whole.update(len(head).to_bytes(8, "little") + head + kind.encode() + b"\0" + digests[name])
    return whole.hexdigest()


class _ColumnHash:
    def __init__(self, kind: pa.DataType) -> None:
        # Looked up once: wide tables come in short pieces, and a type takes as long to look up as a piece to hash.
        self._fixed = _FIXED.get(kind)  # else it is text
        self._values = hashlib.sha256()
        self._lengths = hashlib.sha256()
        self._missing = hashlib.sha256()
        self._rounded = hashlib.sha256()
        self._has_values = self._has_rounded = False

    def update(self, column: pa.Array, start: int) -> None:
        missing = column.null_count
        self._has_values |= missing < len(column)
        if missing:
            positions = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)) + start
            self._missing.update(positions.astype("<i8").data)
        if self._fixed is not None:
            self._values.update(self._fixed(column).data)
            if self._fixed is _wholes:
                self._add_rounded(column, start)
        else:
            texts = pc.fill_null(column, "")
            self._lengths.update(pc.binary_length(texts).to_numpy(zero_copy_only=False).astype("<i4").data)
            self._values.update(_text_bytes(texts))

    def _add_rounded(self, column: pa.Array, start: int) -> None:
        """Take in the whole numbers that are others as float64, with their positions."""
        values = _filled(column)
        large = np.flatnonzero((values > _EXACT) | (values < -_EXACT))
        rounded = large[_is_rounded(values[large])]
        if len(rounded):
            self._has_rounded = True
            self._rounded.update(np.stack([rounded + start, values[rounded]], axis=1).astype("<i8").data)

    def digest(self) -> bytes:
        if not self._has_values:
            # Formats do not agree on the type of a column that is missing throughout.
            return self._missing.digest()
        rounded = self._rounded.digest() if self._has_rounded else b""
        return self._values.digest() + self._lengths.digest() + self._missing.digest() + rounded


def _filled(column: pa.Array) -> NDArray[Any]:
    values: NDArray[Any] = (pc.fill_null(column, 0) if column.null_count else column).to_numpy(zero_copy_only=False)
    return values


def _is_rounded(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which whole numbers float64 does not hold; beyond int64 it has 2⁶³, which none of them is."""
    nearest = values.astype(np.float64)
    is_beyond = nearest >= 2.0**63
    exact: NDArray[np.bool_] = ~is_beyond & (np.where(is_beyond, 0.0, nearest).astype(np.int64) == values)
    return ~exact


def _wholes(column: pa.Array) -> NDArray[np.float64]:
    return _filled(column).astype("<f8")


def _floats(column: pa.Array) -> NDArray[np.float64]:
    # Adding zero turns -0.0, which CSV writes as -0 and reads as the integer 0, into 0.0.
    return _filled(column).astype("<f8") + 0.0


def _booleans(column: pa.Array) -> NDArray[np.uint8]:
    values: NDArray[np.uint8] = pc.fill_null(column, False).to_numpy(zero_copy_only=False).astype(np.uint8)
    return values


def _times(column: pa.Array) -> NDArray[np.int64]:
    filled = pc.fill_null(column.cast(pa.int64()), 0)
    values: NDArray[np.int64] = filled.to_numpy(zero_copy_only=False).astype("<i8")
    return values


_FIXED: Mapping[pa.DataType, Callable[[pa.Array], NDArray[Any]]] = {
    pa.int64(): _wholes,
    pa.float64(): _floats,
    pa.bool_(): _booleans,
    pa.timestamp("us"): _times,
}


def _text_bytes(texts: pa.Array) -> memoryview:
    """The UTF-8 of all texts, end to end."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, texts.offset * 4)
    data = texts.buffers()[2]
    return memoryview(data)[offsets[0] : offsets[-1]] if data is not None else memoryview(b"")
