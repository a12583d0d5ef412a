"""Content: what a reader finds in a source, before it is a dataset."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.datasets.kinds import Kind
from app.errors import Fault, InvalidData


class TypesChanged(Exception):
    """A value far into the source needs a wider type than its head promised: read it again from the start."""


@dataclass(frozen=True)
class Content:
    """A table in record batches, beside arrays that have one entry for each of its rows.

    `batches` starts over at every call. It may raise `TypesChanged` once; the next call then yields the wider
    types. `arrays` gives for each column its parts in row order, which are laid end to end.
    """

    batches: Callable[[], Iterable[pa.RecordBatch]]
    arrays: Mapping[str, tuple[NDArray[Any], ...]] = field(default_factory=dict)
    test_rows: int = 0
    """How many rows, at the end, are the test split."""
    target: str | None = None
    class_names: tuple[str, ...] | None = None
    truth: Mapping[str, Any] | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    """The kinds of columns that are not to be inferred from their values, unless the client declares another."""
    padded: frozenset[str] = frozenset()
    """Columns with numbers that begin with zeros, which no number keeps."""
    format: Mapping[str, Any] | None = None
    """What the source was, and what its reader found in it: the dialect of a CSV file."""


def table_content(table: pa.Table, **about: Any) -> Content:
    """A table that is in memory already, as content."""
    return Content(batches=lambda: table.to_batches(max_chunksize=65536), **about)


def label_column(labels: NDArray[np.integer[Any]], names: tuple[str, ...]) -> pa.Array:
    """Integer labels as the text of their classes."""
    indices = pa.array(labels.astype(np.int32))
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string())).cast(pa.string())


def check_labels(labels: NDArray[np.integer[Any]], names: tuple[str, ...], location: str) -> None:
    """Every label has a name. Only names that were given can fail here."""
    beyond = np.flatnonzero((labels < 0) | (labels >= len(names)))
    if len(beyond):
        row = int(beyond[0])
        message = f"the label is {labels[row]}, but class_names has {len(names)} names (0 to {len(names) - 1})"
        raise InvalidData(Fault(f"{location}, row {row + 1}", message))
