"""Arrow IPC stream: its schema is law."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from app.datasets.readers.content import Content
from app.datasets.readers.upload import Upload
from app.errors import Fault, InvalidData


def read(upload: Upload) -> Content:
    """An Arrow stream, batch by batch."""
    path = upload.plain()
    return Content(batches=lambda: _batches(path))


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                batch.validate(full=True)
                yield batch
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidData(Fault("file", "not a whole Arrow stream; it is damaged or truncated")) from error
