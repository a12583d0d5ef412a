"""NDJSON: one JSON object per line."""

import orjson

from app.datasets.readers import records
from app.datasets.readers.content import Content
from app.datasets.readers.upload import Upload
from app.errors import Fault, InvalidData


def read(upload: Upload) -> Content:
    """The lines as records."""
    rows = []
    with upload.plain().open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                rows.append(_record(line, number))
    return records.read(rows, upload.columns)


def _record(line: bytes, number: int) -> dict[str, object]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidData(Fault(f"line {number}", "not a JSON value")) from error
    if not isinstance(record, dict):
        raise InvalidData(Fault(f"line {number}", "not a JSON object"))
    return record
