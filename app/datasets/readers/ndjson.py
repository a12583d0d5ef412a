"""NDJSON: one JSON object per line, read in blocks of lines."""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path

import orjson

from app.datasets.readers import records
from app.datasets.readers.content import Content
from app.datasets.readers.upload import Upload
from app.errors import Fault, InvalidData

BLOCK_BYTES = 4 << 20
_NO_NUMBER = re.compile(rb"[:\[,]\s*-?(NaN|Infinity)\b")


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
        raise InvalidData(Fault(f"line {number}", f"not a JSON value{_cause(line)}")) from error
    if not isinstance(record, dict):
        cure = "; write each of its objects on a line of its own" if isinstance(record, list) else ""
        raise InvalidData(Fault(f"line {number}", f"not a JSON object{cure}"))
    return record


def _cause(line: bytes) -> str:
    """Why a line is most likely no JSON, and what to do."""
    if b"\0" in line:
        return "; it has NUL bytes, as UTF-16 does: save the file as UTF-8"
    try:
        line.decode()
    except UnicodeDecodeError:
        return "; it is not UTF-8: save the file as UTF-8"
    if _NO_NUMBER.search(line):
        return "; JSON has no NaN and no Infinity: write null for a missing value"
    text = line.strip()
    if text.startswith((b"{", b"[")) and not text.endswith((b"}", b"]")):
        return "; it has no end: write each object on one line, and not over several"
    return ""
