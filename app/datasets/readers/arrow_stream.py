"""Arrow IPC, as a stream or as a file: its schema is law."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from app.datasets.bounds import Bounds
from app.datasets.readers.content import Content
from app.datasets.readers.upload import Upload
from app.errors import Fault, InvalidData

_MAGIC = b"ARROW1"
"""What a file begins with, and no stream."""


def read(upload: Upload) -> Content:
    """An Arrow stream, batch by batch."""
    path = upload.plain()
    return Content(batches=lambda: _batches(path, upload.bounds))


def _batches(path: Path, bounds: Bounds) -> Iterator[pa.RecordBatch]:
    try:
        with pa.OSFile(str(path)) as file:
            for batch in _opened(file, bounds):
                batch.validate(full=True)
                yield batch
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidData(Fault("file", "not a whole Arrow stream or file; it is damaged or truncated")) from error


def _opened(file: pa.NativeFile, bounds: Bounds) -> Iterator[pa.RecordBatch]:
    is_file = file.read(len(_MAGIC)) == _MAGIC
    file.seek(0)
    if not is_file:
        stream = pa.ipc.open_stream(file)
        bounds.check_columns(len(stream.schema))
        yield from stream
        return
    whole = pa.ipc.open_file(file)
    bounds.check_columns(len(whole.schema))
    for number in range(whole.num_record_batches):
        yield whole.get_batch(number)
