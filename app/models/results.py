"""Results: the predictions that batch jobs have left, one Parquet file for each job."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from app.errors import ResultNotFound
from app.job_status import Status
from app.storage import Storage
from app.tables import JobRow

COLLECTION = "predictions"
FILE = "predictions.parquet"
BLOCK_ROWS = 16_384


def key(job_id: str, attempt: int) -> str:
    """Where the predictions of one attempt at a job lie: a worker that has lost its job can touch those of no other."""
    return f"{COLLECTION}/{job_id}.{attempt}"


class Results:
    """Finds, reads and deletes the predictions of jobs."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def open(self, job: JobRow) -> BinaryIO:
        """The file that the last attempt at a job has left, open: others may delete it while it is read."""
        with suppress(FileNotFoundError):
            if job.status == Status.SUCCEEDED:
                return (self._storage.path(key(job.id, job.attempt)) / FILE).open("rb")
        raise ResultNotFound(
            f"The job {job.id!r} has no predictions: it is not over, has failed, trained a model, or was just deleted."
        )

    def csv(self, job: JobRow) -> Iterator[bytes]:
        """The predictions as CSV, some rows at a time."""
        return _csv(self.open(job))

    def delete(self, job_id: str) -> None:
        """Remove the predictions of a job, if it has any."""
        for folder in self._storage.path(COLLECTION).glob(f"{job_id}.*"):
            self._storage.delete(f"{COLLECTION}/{folder.name}")

    def sweep(self, is_kept: Callable[[str, int], bool]) -> list[str]:
        """Remove predictions whose jobs are gone, and those of attempts that came to nothing."""

        def is_known(name: str) -> bool:
            job_id, _, attempt = name.partition(".")
            return attempt.isdecimal() and is_kept(job_id, int(attempt))

        return self._storage.sweep(COLLECTION, is_known)


def _csv(source: BinaryIO) -> Iterator[bytes]:
    # Buffered in advance, the file would be in memory as a whole.
    with source, pq.ParquetFile(source, pre_buffer=False) as file:
        header = True
        for batch in file.iter_batches(BLOCK_ROWS):
            sink = pa.BufferOutputStream()
            csv.write_csv(batch, sink, csv.WriteOptions(include_header=header))
            header = False
            yield sink.getvalue().to_pybytes()
