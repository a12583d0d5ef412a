"""Batch predictions: a dataset, however large, predicted block by block into a Parquet file."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from app.datasets.dataset import Dataset
from app.datasets.kinds import Kind
from app.errors import Fault, InvalidRequest
from app.models.explanation import rows_with_contributions
from app.models.prediction import Wish, check, predict
from app.models.predictor import Loaded
from app.models.replies import to_table
from app.models.results import FILE
from app.models.scan import Block, scan
from app.models.scan import check as check_dataset

BLOCK_NUMBERS = 4_000_000
"""Contributions that are held in memory at a time."""
_OURS = ("prediction", "probability", "low", "high", "top", "contribution", "baseline", "drift")


@dataclass(frozen=True)
class Batch:
    """What is to be predicted, and what to say."""

    split: str
    outputs: list[str]
    top_k: int | None
    interval_level: float
    columns: list[str]

    @classmethod
    def of(cls, spec: dict[str, Any]) -> Self:
        """The batch of a job's spec."""
        return cls(**{name: spec[name] for name in cls.__dataclass_fields__})

    @property
    def wish(self) -> Wish:
        """What to say beside the predictions."""
        return Wish(frozenset(self.outputs), self.top_k, self.interval_level)

    def spec(self, loaded: Loaded, dataset_id: str) -> dict[str, Any]:
        """What a job needs to do it."""
        return {"model": loaded.row.id, "dataset": dataset_id, **asdict(self)}


def check_batch(loaded: Loaded, dataset: Dataset, batch: Batch) -> None:
    """Refuse at once what could only fail later."""
    check(loaded, batch.wish)
    check_dataset(loaded.encoding, dataset)
    rows = dataset.split(batch.split)
    if rows.start == rows.stop:
        raise InvalidRequest(Fault("split", f"the dataset has no rows in {batch.split!r}"))
    for position, name in enumerate(batch.columns):
        if dataset.kinds.get(name, Kind.ARRAY) is Kind.ARRAY:
            raise InvalidRequest(Fault(f"columns[{position}]", f"the dataset has no column {name!r} to carry over"))
        if name.startswith(_OURS):
            raise InvalidRequest(Fault(f"columns[{position}]", f"{name!r} could be taken for one of the result"))
        if name in batch.columns[:position]:
            raise InvalidRequest(Fault(f"columns[{position}]", f"{name!r} is named twice; name each column once"))


def write(loaded: Loaded, dataset: Dataset, batch: Batch, folder: Path) -> Iterator[int]:
    """Predict and write, yielding after each block how many rows are done."""
    writer: pq.ParquetWriter | None = None
    try:
        for block in scan(loaded.encoding, dataset, dataset.split(batch.split), batch.columns):
            for start, table in _predicted(loaded, block, batch):
                if writer is None:
                    writer = pq.ParquetWriter(folder / FILE, table.schema)
                writer.write_table(table)
                yield block.first_row + start + len(table)
    finally:
        if writer is not None:
            writer.close()


def _predicted(loaded: Loaded, block: Block, batch: Batch) -> Iterator[tuple[int, pa.Table]]:
    """The answer to a block, in parts where contributions would make it many times as large."""
    size = rows_with_contributions(loaded, BLOCK_NUMBERS) if "contributions" in batch.outputs else len(block)
    for start in range(0, len(block), size):
        part = block.X[start : start + size]
        table = to_table(predict(loaded, part, batch.wish, block.first_row + start))
        for name in reversed(batch.columns):
            table = table.add_column(0, name, block.extra.column(name).slice(start, size))
        yield start, table
