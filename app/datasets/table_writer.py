"""TableWriter: batches of any format become one Parquet file, checked, in stored types, hashed on the way."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from app.datasets.conform import conformed
from app.datasets.content_hash import TableHash
from app.datasets.kinds import Kind
from app.datasets.slices import slices
from app.errors import Fault, InvalidData

_GROUP_BYTES = 12 << 20
_COLUMN_BYTES = 40 << 10
"""Of each column in a row group, at least: many short pieces would take longer to write than their values."""

_ROWS_WORTH_A_DICTIONARY = 1000
_BYTES_WORTH_A_DICTIONARY = 200 << 10
"""Each has a table of 20 KB while its row group is written; a few rows of many columns would take gigabytes.

Columns of a few long texts, though, may be one text over and over.
"""
_LOOKED_AT = frozenset((pa.float64(), pa.string()))


class TableWriter:
    """Checks and hashes batches in one thread, writes row groups in another, while the reader reads on."""

    def __init__(self, path: Path, columns: Mapping[str, Kind]) -> None:
        self._path = path
        self._columns = columns
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._writer: pq.ParquetWriter | None = None
        self._checks = _Lane()
        self._writes = _Lane()
        self._settled: pa.Schema | None = None
        self.hash = TableHash()
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._checks.close()
        self._writes.close()
        if self._writer is not None:
            self._writer.close()

    def write(self, given: pa.RecordBatch) -> None:
        """Add the rows of one batch."""
        self._checks.follow(lambda: self._take(given))

    def _take(self, given: pa.RecordBatch) -> None:
        if len(given) == 0:
            return
        for piece in slices(given):
            self._take_in(piece)

    def _take_in(self, given: pa.RecordBatch) -> None:
        batch = self._conformed(given)
        self.hash.update(batch)
        self.rows += len(batch)
        self._pending.append(batch)
        self._pending_bytes += batch.nbytes
        if self._pending_bytes >= max(_GROUP_BYTES, batch.num_columns * _COLUMN_BYTES):
            self._flush()

    def _conformed(self, given: pa.RecordBatch) -> pa.RecordBatch:
        """The batch in stored types; batches like one that had them already are not looked at column by column."""
        if self._settled is not None and given.schema.equals(self._settled):
            return given
        batch = conformed(given, self._columns, self.rows)
        # Numbers with a fraction are looked at each time, since they may be too large, and texts, which may have NUL.
        if batch.schema.equals(given.schema) and _LOOKED_AT.isdisjoint(batch.schema.types):
            self._settled = batch.schema
        return batch

    def finish(self) -> None:
        """Write what is left. A table has at least one row."""
        self._checks.wait()
        if not self.rows:
            raise InvalidData(Fault("file", "there are column names but no rows"))
        self._flush()
        self._writes.wait()

    def _flush(self) -> None:
        if not self._pending:
            return
        table = pa.Table.from_batches(self._pending)
        self._pending, self._pending_bytes = [], 0
        self._writes.follow(lambda: self._write(table))

    def _write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = _opened(self._path, table)
        self._writer.write_table(table, row_group_size=len(table))


class _Lane:
    """A thread that does one thing after another; one may be under way while the next is prepared."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._working: Future[None] | None = None

    def follow(self, work: Callable[[], None]) -> None:
        """Do it once what is under way is done."""
        self.wait()
        self._working = self._thread.submit(work)

    def wait(self) -> None:
        """Until nothing is under way. Raises what went wrong."""
        if self._working is not None:
            self._working.result()

    def close(self) -> None:
        """Once what is under way is done."""
        self._thread.shutdown()


def _opened(path: Path, table: pa.Table) -> pq.ParquetWriter:
    """A file without compression: repeated values are small as they are encoded, and random floats do not compress."""
    schema = table.schema
    whole = [field.name for field in schema if field.type == pa.int64()]
    others = [field.name for field in schema if field.type not in (pa.int64(), pa.bool_())]
    # Differences of whole numbers are written in half the time of a dictionary, and are no larger.
    encodings = dict.fromkeys(whole, "DELTA_BINARY_PACKED")
    is_long = len(table) >= _ROWS_WORTH_A_DICTIONARY or table.nbytes >= len(schema) * _BYTES_WORTH_A_DICTIONARY
    repeated = others if is_long else False
    # Checksums cost less than can be measured.
    return pq.ParquetWriter(
        path, schema, compression="none", use_dictionary=repeated, column_encoding=encodings, write_page_checksum=True
    )
