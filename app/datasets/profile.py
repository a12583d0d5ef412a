"""Profiles: what one can know of a column at a glance, computed once when the dataset is made.

A table's columns are read a few at a time and in chunks of rows, so that memory stays bounded whatever the size. The
chunks have the same rows whatever format the table came in, so that the figures have the same bits.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.datasets.chunks import chunked
from app.datasets.distinct import Distinct, hashed_texts
from app.datasets.integer_profile import LargeIntegers
from app.datasets.kinds import Kind, kind_of
from app.datasets.number_profile import BINS, EXACT_INTEGERS, Profile, described_counts, numbers_profile

MOST_CATEGORIES = 1000
"""How many categories are listed, the most frequent first; `distinct` counts them all."""
MOST_TRACKED = 100_000
"""How many categories are counted at a time; beyond that the rarest are forgotten, and the counts are approximate."""
CHUNK_ROWS = 1 << 17
_CHUNK_BYTES = 8 << 20
_GROUP_BYTES = 32 << 20
_GROUP_COLUMNS = 1000
"""Each that is being read takes some 8 KB, however few its rows."""


class ColumnProfile(Protocol):
    """Takes in the values that are there, then describes them."""

    def add(self, values: pa.Array | pa.ChunkedArray) -> None:
        """Take in some values, none of them missing; texts come in several arrays."""

    def describe(self) -> Profile:
        """What is known of all values; there has been one at least."""


def profile_table(path: Path, declared: Mapping[str, Kind]) -> list[Profile]:
    """The profile of every column of a table file."""
    profiles: list[Profile] = []
    with pq.ParquetFile(path, pre_buffer=False) as file:
        metadata, schema = file.metadata, file.schema_arrow
    # A text is read once however many rows have it, which may be all: of long ones no memory would hold a chunk.
    how = {"metadata": metadata, "read_dictionary": [field.name for field in schema if field.type == pa.string()]}
    # Nothing is read ahead: that would be the columns' values in all row groups at once.
    with pq.ParquetFile(path, pre_buffer=False, **how) as file, ThreadPoolExecutor(2) as pool:
        fields = list(enumerate(schema))
        step = min(max(1, _GROUP_BYTES // (8 * file.metadata.num_rows)), _GROUP_COLUMNS)
        for start in range(0, len(fields), step):
            part = fields[start : start + step]
            group = [_Column(file, position, field, declared.get(field.name)) for position, field in part]
            for chunk in _chunks(file, [column.name for column in group]):
                list(pool.map(lambda column, values: column.add(values), group, chunk.columns))
            profiles += pool.map(lambda column: column.profile(), group)
    return profiles


def _chunks(file: pq.ParquetFile, names: list[str]) -> Iterator[pa.Table]:
    """Some columns in chunks of `CHUNK_ROWS` rows, whatever row groups they lie in."""
    batches = (pa.Table.from_batches([batch]) for batch in file.iter_batches(CHUNK_ROWS, columns=names))
    return chunked(batches, CHUNK_ROWS)


class _Column:
    """One column of a table while it is profiled."""

    def __init__(self, file: pq.ParquetFile, position: int, field: pa.Field, declared: Kind | None) -> None:
        self.name = field.name
        self._type = field.type
        self._declared = declared
        self._rows = file.metadata.num_rows
        self._there = 0
        self._values = _profile_of(file, position, field.type)

    def add(self, values: pa.ChunkedArray) -> None:
        """Take in a chunk."""
        there = values.drop_null()
        self._there += len(there)
        # One array has 2 GiB of text at most; of numbers it has to be one, or their sums had other bits.
        self._values.add(there if self._type == pa.string() else there.combine_chunks())

    def profile(self) -> Profile:
        """What is known of the column."""
        # A column without a single value says nothing about its kind, whatever type the format gave it.
        kind = self._declared or (kind_of(self._type) if self._there else Kind.IGNORE)
        described = self._values.describe() if self._there else {}
        return {"name": self.name, "kind": kind.value, "missing": self._rows - self._there, **described}


def _profile_of(file: pq.ParquetFile, position: int, kind: pa.DataType) -> ColumnProfile:
    if kind in _SIMPLE:
        return _SIMPLE[kind]()
    rows, bounds = file.metadata.num_rows, _bounds(file, position)
    if kind == pa.int64() and bounds is not None and max(map(abs, bounds)) > EXACT_INTEGERS:
        return LargeIntegers(*bounds, rows)
    return numbers_profile(kind, rows, bounds)


def _bounds(file: pq.ParquetFile, position: int) -> tuple[int, int] | None:
    """The bounds of a column, as its file states them, where they are whole numbers."""
    metadata = file.metadata
    stated = [metadata.row_group(group).column(position).statistics for group in range(metadata.num_row_groups)]
    known = [statistics for statistics in stated if statistics is not None and statistics.has_min_max]
    # A row group in which every value is missing has no bounds to state.
    if not known or any(statistics is None for statistics in stated):
        return None
    low, high = min(statistics.min for statistics in known), max(statistics.max for statistics in known)
    return (int(low), int(high)) if low == int(low) and high == int(high) else None


class _Categories:
    """Texts."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._distinct = Distinct()
        self._forgot = False

    def add(self, values: pa.ChunkedArray) -> None:
        for chunk in values.chunks:
            found = pc.value_counts(chunk)
            levels = found.field(0).to_pylist()
            self._counts.update(dict(zip(levels, found.field(1).to_pylist(), strict=True)))
            self._distinct.add(hashed_texts(levels))
        if len(self._counts) > MOST_TRACKED:
            self._counts = Counter(dict(self._most_frequent(MOST_TRACKED // 2)))
            self._forgot = True

    def describe(self) -> Profile:
        listed = [{"value": value, "count": count} for value, count in self._most_frequent(MOST_CATEGORIES)]
        if not self._forgot:
            return {"distinct": len(self._counts), "categories": listed}
        approximate = {"distinct_approximate": True, "categories_approximate": True}
        return {"distinct": self._distinct.count(), "categories": listed, **approximate}

    def _most_frequent(self, number: int) -> list[tuple[str, int]]:
        return sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))[:number]


class _Booleans:
    """True and false."""

    def __init__(self) -> None:
        self._rows = self._true = 0

    def add(self, values: pa.Array) -> None:
        self._rows += len(values)
        self._true += pc.sum(values).as_py() or 0

    def describe(self) -> Profile:
        listed = [{"value": True, "count": self._true}, {"value": False, "count": self._rows - self._true}]
        distinct = sum(entry["count"] > 0 for entry in listed)
        return {"mean": self._true / self._rows, "distinct": distinct, "categories": listed}


class _Times:
    """Date-times."""

    def __init__(self) -> None:
        self._bounds: list[Any] = []

    def add(self, values: pa.Array) -> None:
        if len(values):
            found = pc.min_max(values).as_py()
            self._bounds += [found["min"], found["max"]]

    def describe(self) -> Profile:
        return {"min": f"{min(self._bounds).isoformat()}Z", "max": f"{max(self._bounds).isoformat()}Z"}


_SIMPLE: Mapping[pa.DataType, Callable[[], ColumnProfile]] = {
    pa.string(): _Categories,
    pa.bool_(): _Booleans,
    pa.timestamp("us"): _Times,
}


def holds_dates(about: Mapping[str, Any]) -> bool:
    """Whether a column of which this is the profile has dates, with or without a time of day."""
    return about["kind"] == Kind.IGNORE and isinstance(about.get("min"), str)


def unpredictable(about: Mapping[str, Any]) -> str | None:
    """Why no model predicts a column of which this is the profile, if none does."""
    if holds_dates(about):
        return "holds date-times"
    return "has no value" if set(about) <= {"name", "kind", "missing", "note"} else None


def profile_array(name: str, values: NDArray[Any]) -> Profile:
    """The profile of an array column: its shape, and the statistics of all its elements together."""
    about = _describe_bytes(values) if values.dtype == np.uint8 else _describe_floats(values)
    return {"name": name, "kind": Kind.ARRAY.value, "missing": 0, "shape": list(values.shape[1:]), **about}


def _describe_bytes(values: NDArray[np.uint8]) -> Profile:
    """From the counts of the 256 levels. Pairs of bytes are counted as one, which halves the work."""
    flat = values.reshape(-1)
    even = len(flat) // 2 * 2
    pairs = np.zeros(65536, np.int64)
    for start in range(0, even, _CHUNK_BYTES):
        pairs += np.bincount(flat[start : min(start + _CHUNK_BYTES, even)].view(np.uint16), minlength=65536)
    table = pairs.reshape(256, 256)
    about = described_counts(0, table.sum(axis=0) + table.sum(axis=1) + np.bincount(flat[even:], minlength=256))
    about.pop("categories", None)  # the levels of pixels are no classes
    return about


def _describe_floats(values: NDArray[Any]) -> Profile:
    step = max(1, _CHUNK_BYTES // max(values[:1].nbytes, 1))
    chunks = [values[start : start + step] for start in range(0, len(values), step)]
    total = sum(float(chunk.sum(dtype=np.float64)) for chunk in chunks)
    mean = total / values.size
    variance = sum(float(((chunk.astype(np.float64) - mean) ** 2).sum()) for chunk in chunks) / values.size
    low, high = min(float(chunk.min()) for chunk in chunks), max(float(chunk.max()) for chunk in chunks)
    counts = np.zeros(BINS, np.int64)
    for chunk in chunks if low < high else ():
        bins = (chunk.reshape(-1).astype(np.float64) - low) * (BINS / (high - low))
        counts += np.bincount(np.minimum(bins.astype(np.int64), BINS - 1), minlength=BINS)
    listed = counts.tolist() if low < high else [values.size]
    histogram = {"start": low, "width": (high - low) / BINS, "counts": listed}
    return {"mean": mean, "std": variance**0.5, "min": low, "max": high, "histogram": histogram}
