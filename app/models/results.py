"""Results: the predictions that batch jobs have left, one Parquet file for each job."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from app.errors import ResultNotFound
from app.storage import Storage

COLLECTION = "predictions"
FILE = "predictions.parquet"
BLOCK_ROWS = 16_384


def key(job_id: str) -> str:
    """Where the predictions of a job lie in the storage."""
    return f"{COLLECTION}/{job_id}"


class Results:
    """Finds, reads and deletes the predictions of jobs."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def path(self, job_id: str) -> Path:
        """The file of a job's predictions."""
        path = self._storage.path(key(job_id)) / FILE
        if not path.is_file():
            raise ResultNotFound(
                f"The job {job_id!r} has no predictions: it is not over, has failed, or trained a model."
            )
        return path

    def csv(self, job_id: str) -> Iterator[bytes]:
        """The predictions as CSV, some rows at a time."""
        path = self.path(job_id)
        return _csv(path)

    def delete(self, job_id: str) -> None:
        """Remove the predictions of a job, if it has any."""
        self._storage.delete(key(job_id))

    def sweep(self, is_known: Callable[[str], bool]) -> list[str]:
        """Remove predictions whose jobs are gone."""
        return self._storage.sweep(COLLECTION, is_known)


def _csv(path: Path) -> Iterator[bytes]:
    # Buffered in advance, the file would be in memory as a whole.
    with pq.ParquetFile(path, pre_buffer=False) as file:
        header = True
        for batch in file.iter_batches(BLOCK_ROWS):
            sink = pa.BufferOutputStream()
            csv.write_csv(batch, sink, csv.WriteOptions(include_header=header))
            header = False
            yield sink.getvalue().to_pybytes()
