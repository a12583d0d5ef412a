"""TableWriter: batches of any format become one Parquet file, checked, in stored types, hashed on the way."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from app.datasets.conform import conformed
from app.datasets.content_hash import TableHash
from app.datasets.kinds import Kind
from app.errors import Fault, InvalidData

_GROUP_BYTES = 12 << 20
_COLUMN_BYTES = 40 << 10
"""Of each column in a row group, at least: many short pieces would take longer to write than their values."""


class TableWriter:
    """Checks, hashes and writes batches in a thread of its own, so that the reader reads on meanwhile."""

    def __init__(self, path: Path, columns: Mapping[str, Kind]) -> None:
        self._path = path
        self._columns = columns
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._writer: pq.ParquetWriter | None = None
        self._worker = ThreadPoolExecutor(1)
        self._working: Future[None] | None = None
        self.hash = TableHash()
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.shutdown()
        if self._writer is not None:
            self._writer.close()

    def write(self, given: pa.RecordBatch) -> None:
        """Add the rows of one batch."""
        self._wait()
        self._working = self._worker.submit(self._take, given)

    def _take(self, given: pa.RecordBatch) -> None:
        if len(given) == 0:
            return
        batch = conformed(given, self._columns, self.rows)
        self.hash.update(batch)
        self.rows += len(batch)
        self._pending.append(batch)
        self._pending_bytes += batch.nbytes
        if self._pending_bytes >= max(_GROUP_BYTES, batch.num_columns * _COLUMN_BYTES):
            self._flush()

    def finish(self) -> None:
        """Write what is left. A table has at least one row."""
        self._wait()
        if not self.rows:
            raise InvalidData(Fault("file", "there are column names but no rows"))
        self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        table = pa.Table.from_batches(self._pending)
        self._pending, self._pending_bytes = [], 0
        if self._writer is None:
            # Uncompressed: dictionaries make repeated values small, and random floats do not compress.
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="none")
        self._writer.write_table(table, row_group_size=len(table))

    def _wait(self) -> None:
        if self._working is not None:
            self._working.result()
