"""Scanning: a dataset as design matrices, some rows at a time, so that one larger than memory can be predicted."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.datasets.dataset import TABLE_FILE, Dataset
from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import ArrayFeature, CategoricalFeature, Matrix, NumericFeature
from app.datasets.kinds import Kind
from app.errors import Fault, InvalidRequest

BLOCK_BYTES = 32 << 20
MOST_ROWS = 65_536
FEWEST_ROWS = 256


class Block:
    """Some successive rows of a dataset: their design matrix, and the columns that were asked for beside it."""

    def __init__(self, first_row: int, X: Matrix, extra: pa.Table) -> None:
        self.first_row = first_row
        self.X = X
        self.extra = extra

    def __len__(self) -> int:
        return len(self.X)


def check(encoding: Encoding, dataset: Dataset) -> None:
    """Refuse a dataset that lacks a column of the model, or has it as another kind."""
    faults = []
    for feature in encoding.features:
        kind = dataset.kinds.get(feature.name)
        fitting = (feature.kind, Kind.BOOLEAN) if isinstance(feature, NumericFeature) else (feature.kind,)
        if kind not in fitting:
            message = f"its column {feature.name!r} is {kind or 'absent'}; the model takes it as {feature.kind}"
            faults.append(Fault("dataset", message))
        elif isinstance(feature, ArrayFeature) and dataset.shape(feature.name) != feature.shape:
            message = f"its arrays {feature.name!r} are {list(dataset.shape(feature.name))}, not {list(feature.shape)}"
            faults.append(Fault("dataset", message))
    if faults:
        raise InvalidRequest(faults[:10])


def scan(encoding: Encoding, dataset: Dataset, rows: slice, extra: list[str] | None = None) -> Iterator[Block]:
    """The rows of a range in order, in blocks of about 32 MB."""
    arrays = {f.name: dataset.array(f.name) for f in encoding.features if isinstance(f, ArrayFeature)}
    scalars = [f.name for f in encoding.features if f.name not in arrays]
    size = max(FEWEST_ROWS, min(MOST_ROWS, BLOCK_BYTES // (8 * max(1, len(encoding.names)))))
    for first, table in _tables(dataset, rows, [*scalars, *(n for n in extra or [] if n not in scalars)], size):
        count = len(table)
        blocks = [_encoded(feature, table, arrays, first, count) for feature in encoding.features]
        yield Block(first - rows.start, np.hstack(blocks) if len(blocks) > 1 else blocks[0], table.select(extra or []))


def _encoded(feature: Any, table: pa.Table, arrays: dict[str, Any], first: int, count: int) -> Matrix:
    if isinstance(feature, ArrayFeature):
        return feature.encode(arrays[feature.name][first : first + count])
    column = table.column(feature.name)
    if isinstance(feature, CategoricalFeature):
        return feature.indicators(feature.codes(column))  # as /predict has it: the weights are folded
    encoded: Matrix = feature.encode(column)
    return encoded


def _tables(dataset: Dataset, rows: slice, columns: list[str], size: int) -> Iterator[tuple[int, pa.Table]]:
    """Row ranges of at most `size`, from the row groups that hold them alone; each group is read in small pieces."""
    if not columns:
        yield from ((i, _nothing(min(size, rows.stop - i))) for i in range(rows.start, rows.stop, size))
        return
    with pq.ParquetFile(dataset.folder / TABLE_FILE, pre_buffer=False) as file:
        start = 0
        for group in range(file.metadata.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            if stop > rows.start and start < rows.stop:
                yield from _pieces(file, group, start, rows, columns, size)
            start = stop


def _pieces(
    file: pq.ParquetFile, group: int, start: int, rows: slice, columns: list[str], size: int
) -> Iterator[tuple[int, pa.Table]]:
    for batch in file.iter_batches(size, row_groups=[group], columns=columns):
        low, high = max(rows.start - start, 0), min(rows.stop - start, len(batch))
        if low < high:
            yield start + low, pa.Table.from_batches([batch.slice(low, high - low)])
        start += len(batch)


def _nothing(count: int) -> pa.Table:
    """A table of no columns cannot have a length, hence one column that nobody asks for."""
    return pa.table({"": pa.nulls(count)})
