"""Dataset: what one is, and its values on disk, opened when they are asked for.

datasets/<id>/table.parquet     every scalar column; for images, the labels
datasets/<id>/<n>.npy           one file for each array column, n × shape, memory-mapped
datasets/<id>/dataset.json      the description below
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.datasets.chunks import chunked
from app.datasets.kinds import Kind
from app.errors import DamagedFiles, DatasetNotFound
from app.storage import intact

COLLECTION = "datasets"
TABLE_FILE = "table.parquet"
DESCRIPTION_FILE = "dataset.json"


def key(dataset_id: str) -> str:
    """Where a dataset's files lie in the storage."""
    return f"{COLLECTION}/{dataset_id}"


def _always(dataset_id: str) -> bool:
    return True


@dataclass(frozen=True)
class Description:
    """What a dataset holds."""

    rows: int
    sha256: str
    columns: list[dict[str, Any]]
    """The profile of each column: name, kind, missing, and what else its kind has."""
    splits: dict[str, int]
    target: str | None = None
    class_names: list[str] | None = None
    truth: dict[str, Any] | None = None
    format: dict[str, Any] | None = None
    """What the source was: the format, and the dialect of a CSV file."""
    array_files: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Keep it beside the data."""
        text = json.dumps(asdict(self), allow_nan=False, ensure_ascii=False)
        (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The description of the dataset in a folder."""
        return cls(**json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Dataset:
    """A dataset's description and the folder of its files.

    They are opened as they are asked for, and it may be deleted before: then whoever asks gets DatasetNotFound.
    """

    folder: Path
    description: Description
    is_known: Callable[[str], bool] = field(default=_always, repr=False)
    """Whether the dataset of an id is still there, or was deleted."""

    @classmethod
    def open(cls, folder: Path, is_known: Callable[[str], bool] = _always) -> Self:
        """The dataset that lies in a folder."""
        with _intact(folder.name, is_known):
            return cls(folder, Description.read(folder), is_known)

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """The kind of each column, in the order of the columns."""
        return {column["name"]: Kind(column["kind"]) for column in self.description.columns}

    @property
    def rows(self) -> int:
        """How many rows there are, all splits together."""
        return self.description.rows

    def split(self, name: str) -> slice:
        """The rows of a split: the training rows stand first."""
        train = self.description.splits["train"]
        return {"train": slice(0, train), "test": slice(train, self.rows), "all": slice(0, self.rows)}[name]

    def shape(self, column: str) -> tuple[int, ...]:
        """The shape of one entry of an array column."""
        return tuple(next(about["shape"] for about in self.description.columns if about["name"] == column))

    def array(self, column: str) -> NDArray[Any]:
        """The values of an array column, memory-mapped."""
        with self._intact():
            values: NDArray[Any] = np.load(self.folder / self.description.array_files[column], mmap_mode="r")
        return values

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The scalar columns (or some of them), whole."""
        with self._intact():
            return self._file.read(columns)

    def column(self, name: str) -> pa.ChunkedArray:
        """One scalar column, whole."""
        return self.table([name]).column(0)

    @cached_property
    def _file(self) -> pq.ParquetFile:
        """The table's file, opened once: a wide table's metadata takes longer to read than a column."""
        with self._intact():
            return pq.ParquetFile(self.folder / TABLE_FILE, memory_map=True, page_checksum_verification=True)

    @contextmanager
    def opened(self) -> Iterator[pq.ParquetFile]:
        """The table's file, to be read in pieces, for a block that does nothing else."""
        # Not mapped: pages that are mapped and read once would count as this process's memory.
        how = {"pre_buffer": False, "page_checksum_verification": True}
        with self._intact(), pq.ParquetFile(self.folder / TABLE_FILE, **how) as file:
            yield file

    def read(self, split: str = "all", offset: int = 0, limit: int | None = None) -> list[dict[str, Any]]:
        """Rows as a client sees them: by column name, in the columns' order, missing values as None."""
        rows = self.range(split, offset, limit)
        start, stop = rows.start, rows.stop
        scalars = self._slice(start, stop).to_pydict()
        arrays = {name: self.array(name)[start:stop].tolist() for name in self.description.array_files}
        columns = {name: (scalars | arrays)[name] for name in self.kinds}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def range(self, split: str, offset: int = 0, limit: int | None = None) -> slice:
        """The rows of a split after the first `offset`, at most `limit`."""
        within = self.split(split)
        start = min(within.start + offset, within.stop)
        return slice(start, within.stop if limit is None else min(start + limit, within.stop))

    def blocks(self, columns: Sequence[str] | None, rows: slice, size: int) -> Iterator[tuple[int, pa.Table]]:
        """Scalar columns of a range of rows in order, `size` rows at a time, each block with its first row.

        One row group is in memory at a time, and of it the columns asked for.
        """
        start = rows.start
        for block in chunked(self._row_groups(columns, rows), size):
            yield start, block
            start += len(block)

    def _row_groups(self, columns: Sequence[str] | None, rows: slice) -> Iterator[pa.Table]:
        with self.opened() as file:
            for group, (first, end) in enumerate(self._groups):
                start, stop = max(first, rows.start), min(end, rows.stop)
                if start < stop:
                    yield file.read_row_group(group, columns).slice(start - first, stop - start)

    @cached_property
    def _groups(self) -> list[tuple[int, int]]:
        """The first row of each row group, and the one after its last."""
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        ends = np.cumsum(sizes).tolist()
        return list(pairwise([0, *ends]))

    def _intact(self) -> AbstractContextManager[None]:
        return _intact(self.folder.name, self.is_known)

    def _slice(self, start: int, stop: int) -> pa.Table:
        """Rows of the table, from the row groups that hold them alone."""
        tables = [table for _, table in self.blocks(None, slice(start, stop), max(1, stop - start))]
        return pa.concat_tables(tables) if tables else self._file.schema_arrow.empty_table()


@contextmanager
def _intact(dataset_id: str, is_known: Callable[[str], bool]) -> Iterator[None]:
    """Read files of a dataset, in a block that does nothing else.

    Raises:  DatasetNotFound if it was deleted since; DamagedFiles
    """
    try:
        with intact(key(dataset_id)):
            yield
    except DamagedFiles as error:
        if is_known(dataset_id):
            raise
        raise DatasetNotFound(dataset_id) from error
