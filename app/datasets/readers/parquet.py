"""Parquet: its schema is law."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from app.datasets.bounds import Bounds
from app.datasets.readers.content import Content
from app.datasets.readers.upload import Upload
from app.errors import Fault, InvalidData

_BATCH_ROWS = 16_384
_BATCH_BYTES = 128 << 20
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def read(upload: Upload) -> Content:
    """A Parquet file, row group by row group."""
    path = upload.plain()
    return Content(batches=lambda: _batches(path, upload.bounds))


def _batches(path: Path, bounds: Bounds) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            metadata, schema = file.metadata, file.schema_arrow
        bounds.check_columns(len(schema))
        # A text that is in the file once, for many rows, is to be in memory once, too.
        texts = [field.name for field in schema if any(test(field.type) for test in _TEXTS)]
        with pq.ParquetFile(path, pre_buffer=False, metadata=metadata, read_dictionary=texts) as file:
            for batch in file.iter_batches(_rows(metadata)):
                batch.validate(full=True)  # a text need not be UTF-8 to lie in the file
                yield batch
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidData(Fault("file", "not a whole Parquet file; it is damaged or truncated")) from error


def _rows(metadata: pq.FileMetaData) -> int:
    """How many rows a batch has: fewer where they are long."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    longest = max((group.total_byte_size // group.num_rows for group in groups if group.num_rows), default=0)
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, longest)))
