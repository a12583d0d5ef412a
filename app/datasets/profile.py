"""Profiles: what one can know of a column at a glance, computed once when the dataset is made.

Everything is exact, except the quantiles of a column with more than `SAMPLE_ROWS` values, which come from
evenly spaced rows and say so by `quantiles_approximate`.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.datasets.kinds import Kind, kind_of

SAMPLE_ROWS = 4_000_000
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST_CATEGORIES = 1000
"""How many categories are listed, the most frequent first; `distinct` counts them all."""
_CHUNK_BYTES = 8 << 20
_GROUP_BYTES = 64 << 20

Profile = dict[str, Any]


def profile_table(path: Path, declared: Mapping[str, Kind]) -> list[Profile]:
    """The profile of every column of a table file, some columns at a time, so that memory stays bounded."""
    profiles: list[Profile] = []
    with pq.ParquetFile(path, memory_map=True) as file, ThreadPoolExecutor(2) as pool:
        fields = list(file.schema_arrow)
        step = max(1, _GROUP_BYTES // (8 * file.metadata.num_rows))
        for start in range(0, len(fields), step):
            table = file.read([field.name for field in fields[start : start + step]])
            profiles += pool.map(
                lambda name, column: _profile_column(name, column, declared.get(name)),
                table.column_names,
                table.columns,
            )
    return profiles


def _profile_column(name: str, column: pa.ChunkedArray, declared: Kind | None) -> Profile:
    missing = column.null_count
    # A column without a single value says nothing about its kind, whatever type the format gave it.
    kind = declared or (Kind.IGNORE if missing == len(column) else kind_of(column.type))
    described = _DESCRIBE[column.type](column.drop_null()) if missing < len(column) else {}
    return {"name": name, "kind": kind.value, "missing": missing, **described}


def _describe_numbers(column: pa.ChunkedArray) -> Profile:
    values = column.to_numpy().astype(np.float64)
    about = {"mean": float(values.mean()), "std": float(values.std())}
    if about_is_exact := len(values) <= SAMPLE_ROWS:
        sample = values
    else:
        sample = values[:: -(-len(values) // SAMPLE_ROWS)].copy()
    bounds = {"min": float(values.min()), "max": float(values.max())}
    sample.sort()
    quantiles = {str(q): float(_sorted_quantile(sample, q)) for q in QUANTILES}
    known = {**about, **bounds, "quantiles": quantiles}
    return known if about_is_exact else {**known, "quantiles_approximate": True}


def _sorted_quantile(values: NDArray[np.float64], q: float) -> float:
    """The quantile by linear interpolation, as numpy.quantile, of values that are sorted already."""
    position = q * (len(values) - 1)
    low = int(position)
    high = min(low + 1, len(values) - 1)
    return float(values[low] + (values[high] - values[low]) * (position - low))


def _describe_categories(column: pa.ChunkedArray) -> Profile:
    counts = pc.value_counts(column.combine_chunks())
    pairs = sorted(
        zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True),
        key=lambda p: (-p[1], p[0]),
    )
    listed = [{"value": value, "count": count} for value, count in pairs[:MOST_CATEGORIES]]
    return {"distinct": len(pairs), "categories": listed}


def _describe_booleans(column: pa.ChunkedArray) -> Profile:
    true = pc.sum(column).as_py()
    listed = [{"value": True, "count": true}, {"value": False, "count": len(column) - true}]
    return {"mean": true / len(column), "categories": listed}


def _describe_times(column: pa.ChunkedArray) -> Profile:
    bounds = pc.min_max(column).as_py()
    return {"min": f"{bounds['min'].isoformat()}Z", "max": f"{bounds['max'].isoformat()}Z"}


_DESCRIBE: Mapping[pa.DataType, Callable[[pa.ChunkedArray], Profile]] = {
    pa.int64(): _describe_numbers,
    pa.float64(): _describe_numbers,
    pa.string(): _describe_categories,
    pa.bool_(): _describe_booleans,
    pa.timestamp("us"): _describe_times,
}


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
    counts = table.sum(axis=0) + table.sum(axis=1) + np.bincount(flat[even:], minlength=256)
    levels = np.arange(256)
    mean = float(counts @ levels) / len(flat)
    std = float(np.sqrt(counts @ (levels - mean) ** 2 / len(flat)))
    seen = np.flatnonzero(counts)
    ranks = np.cumsum(counts)
    quantiles = {str(q): float(np.searchsorted(ranks, q * (len(flat) - 1), side="right")) for q in QUANTILES}
    return {"mean": mean, "std": std, "min": float(seen[0]), "max": float(seen[-1]), "quantiles": quantiles}


def _describe_floats(values: NDArray[Any]) -> Profile:
    step = max(1, _CHUNK_BYTES // max(values[:1].nbytes, 1))
    chunks = [values[start : start + step] for start in range(0, len(values), step)]
    total = sum(float(chunk.sum(dtype=np.float64)) for chunk in chunks)
    mean = total / values.size
    variance = sum(float(((chunk.astype(np.float64) - mean) ** 2).sum()) for chunk in chunks) / values.size
    bounds = {
        "min": min(float(chunk.min()) for chunk in chunks),
        "max": max(float(chunk.max()) for chunk in chunks),
    }
    return {"mean": mean, "std": variance**0.5, **bounds}
