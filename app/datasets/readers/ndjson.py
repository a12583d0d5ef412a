"""NDJSON: one JSON object per line, read in blocks of lines."""

from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path

import orjson

from app.datasets.readers import records
from app.datasets.readers.content import Content
from app.datasets.readers.upload import Upload
from app.errors import Fault, InvalidData

BLOCK_BYTES = 4 << 20


def read(upload: Upload) -> Content:
    """The lines as records."""
    path = upload.plain()
    return records.read_blocks(lambda: _blocks(path), upload.columns, "file", upload.bounds)


def _blocks(path: Path) -> Iterator[list[dict[str, object]]]:
    number = 0
    with path.open("rb") as file:
        if file.read(len(BOM_UTF8)) != BOM_UTF8:
            file.seek(0)
        while lines := file.readlines(BLOCK_BYTES):
            yield [_record(line, row) for row, line in enumerate(lines, number + 1) if line.strip()]
            number += len(lines)


def _record(line: bytes, number: int) -> dict[str, object]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidData(Fault(f"line {number}", "not a JSON value")) from error
    if not isinstance(record, dict):
        raise InvalidData(Fault(f"line {number}", "not a JSON object"))
    return record
