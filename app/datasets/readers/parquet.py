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


def read(upload: Upload) -> Content:
    """A Parquet file, row group by row group."""
    path = upload.plain()
    return Content(batches=lambda: _batches(path, upload.bounds))


def _batches(path: Path, bounds: Bounds) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            bounds.check_columns(len(file.schema_arrow))
            for batch in file.iter_batches(_BATCH_ROWS):
                batch.validate(full=True)  # a text need not be UTF-8 to lie in the file
                yield batch
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidData(Fault("file", "not a whole Parquet file; it is damaged or truncated")) from error
