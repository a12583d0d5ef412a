"""Splitting: which rows train and which validate. No row is in both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.datasets.dataset import Dataset
from app.errors import Fault, InvalidSpec

BLOCK_ROWS = 1 << 17
BLOCK_BYTES = 32 << 20
Rows = slice | NDArray[np.int64]
"""Rows of a dataset: a range, which costs no copy, or ascending positions."""


@dataclass(frozen=True)
class Part:
    """Some rows of a dataset."""

    dataset: Dataset
    rows: Rows

    def __len__(self) -> int:
        return count(self.rows)

    def blocks(self, names: Sequence[str], width: int | None = None) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Columns in blocks of rows, each with its first row within the part: Arrow columns, NumPy arrays for arrays.

        `width` is how many numbers a row becomes; blocks are cut so that these take some megabytes.
        """
        arrays = {name: self.dataset.array(name) for name in names if name in self.dataset.description.array_files}
        numbers = width or sum(array[0].size for array in arrays.values()) + len(names)
        size = max(1, min(BLOCK_ROWS, BLOCK_BYTES // (8 * numbers)))
        start = 0
        for rows, table in self._scalars([name for name in names if name not in arrays], size):
            columns = {name: table.column(name) for name in names if name not in arrays} if table is not None else {}
            yield start, columns | {name: array[rows] for name, array in arrays.items()}
            start += count(rows)

    def _scalars(self, names: Sequence[str], size: int) -> Iterator[tuple[Rows, pa.Table | None]]:
        """The table's rows in blocks, with their places in the dataset; the places alone where no column is read."""
        if not names:
            yield from ((rows, None) for rows in _pieces(self.rows, size))
        elif isinstance(self.rows, slice):
            for start, block in self.dataset.blocks(names, self.rows, size):
                yield slice(start, start + len(block)), block
        elif len(self.rows):
            within = slice(int(self.rows[0]), int(self.rows[-1]) + 1)
            for start, block in self.dataset.blocks(names, within, size):
                low, high = np.searchsorted(self.rows, (start, start + len(block)))
                if low < high:
                    chosen = np.zeros(len(block), bool)
                    chosen[self.rows[low:high] - start] = True
                    # Not take, which lays all texts of the block end to end, where an array holds 2 GiB of them.
                    yield self.rows[low:high], block.filter(pa.array(chosen))


def _pieces(rows: Rows, size: int) -> Iterator[Rows]:
    if isinstance(rows, slice):
        yield from (slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size))
    else:
        yield from (rows[start : start + size] for start in range(0, len(rows), size))


@dataclass(frozen=True)
class Split:
    """The rows to train on and those to validate on."""

    train: Part
    validation: Part | None


def split(
    dataset: Dataset,
    validation: Mapping[str, Any] | None,
    seed: int,
    other: Dataset | None = None,
    rows: Rows | None = None,
) -> Split:
    """Split as a job asks: `None`, `{"split": "test"}`, `{"fraction": f}`, or `other`, another dataset.

    The test split never trains. A fraction is taken from the rows that may train (all of the training split, unless
    `rows` names some), by a permutation drawn from the seed.
    """
    train = dataset.split("train") if rows is None else rows
    if validation is None:
        return Split(Part(dataset, train), None)
    if "dataset" in validation:
        if other is None:
            raise ValueError("the other dataset has to be opened by the caller")
        return Split(Part(dataset, train), Part(other, other.split("all")))
    if "fraction" in validation:
        training, held_out = _fraction(train, float(validation["fraction"]), seed)
        return Split(Part(dataset, training), Part(dataset, held_out))
    if not dataset.description.splits["test"]:
        message = 'the dataset has no test split; use {"fraction": 0.2}, another dataset, or null'
        raise InvalidSpec(Fault("validation.split", message))
    return Split(Part(dataset, train), Part(dataset, dataset.split("test")))


def count(rows: Rows) -> int:
    """How many rows."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def _fraction(train: Rows, fraction: float, seed: int) -> tuple[Rows, Rows]:
    total = count(train)
    held_out = min(max(round(total * fraction), 1), total - 1)
    if total < 2:
        raise InvalidSpec(Fault("validation.fraction", "one row with a target cannot be split; use null"))
    order = np.random.default_rng(seed).permutation(total)
    # In ascending order, so that reading them walks forward through the files; training shuffles anyway.
    return _taken(train, np.sort(order[held_out:])), _taken(train, np.sort(order[:held_out]))


def _taken(rows: Rows, positions: NDArray[np.int64]) -> Rows:
    return positions + rows.start if isinstance(rows, slice) else rows[positions]
