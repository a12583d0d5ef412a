"""Gzip, undone on disk within a limit: a bomb stops at the limit, a truncated stream is refused."""

import zlib
from pathlib import Path
from typing import BinaryIO

from app.errors import Fault, InvalidData, TooLarge, UnsupportedMediaType

_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 16
"""Read at once. What follows a member is copied when it ends, and thousands may end in one chunk."""

_PIECE = 4 << 20
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


def unpacked(path: Path, limit: int, location: str, encoding: str | None = None) -> Path:
    """The file itself where it is plain, else a decompressed copy beside it, of at most `limit` bytes.

    Gzip is known by its content; `encoding` is what the client declared and has to be true.
    """
    declared = (encoding or "identity").strip().lower()
    if declared not in ("identity", "gzip", "x-gzip"):
        raise UnsupportedMediaType(f"Content-Encoding {declared!r} is not read here; send gzip, or none.")
    with path.open("rb") as source:
        if source.read(2) != _MAGIC:
            if declared != "identity":
                raise InvalidData(Fault(location, "it is declared as gzip but does not begin as gzip does"))
            return path
        source.seek(0)
        target = path.with_name(path.name + ".unpacked")
        with target.open("wb") as sink:
            _inflate(source, sink, limit, location)
    return target


def _inflate(source: BinaryIO, sink: BinaryIO, limit: int, location: str) -> None:
    """Write every member of a gzip file to `sink`."""
    pending = source.read(_CHUNK)
    written = 0
    while pending:
        member = zlib.decompressobj(_GZIP_WINDOW)
        while True:
            written += sink.write(_next(member, pending, location))
            if written > limit:
                raise TooLarge(f"{location} is larger than {limit} bytes once it is decompressed.")
            if member.eof:
                break
            pending = member.unconsumed_tail or source.read(_CHUNK)
        # What follows a member is another one, or padding with zeros.
        pending = (member.unused_data or source.read(_CHUNK)).lstrip(b"\0")


def _next(member: "zlib._Decompress", pending: bytes, location: str) -> bytes:
    if not pending:
        raise InvalidData(Fault(location, "the gzip stream ends too early; the file is truncated"))
    try:
        return member.decompress(pending, _PIECE)
    except zlib.error as error:
        raise InvalidData(Fault(location, "the gzip stream is damaged")) from error
