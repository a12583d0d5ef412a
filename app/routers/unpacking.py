"""Compressed bodies of requests, unpacked in memory up to a limit."""

import re
import zlib

from app.errors import Fault, InvalidRequest, TooLarge, UnsupportedMediaType
from app.settings import MEBIBYTE

_GZIP = zlib.MAX_WBITS | 16
_WINDOWS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}
_BLOCK = 8192
"""Read at once. What follows a member is copied when it ends, and many may end in one block."""

_PADDING = re.compile(rb"\0*+")


def unpacked(body: bytes, encoding: str | None, most_bytes: int) -> bytes:
    """The body as it was before the client compressed it, up to the limit of all bodies."""
    encoding = (encoding or "identity").strip().lower()
    if encoding == "identity":
        return body
    if encoding not in _WINDOWS:
        raise UnsupportedMediaType("A compressed body is gzip or deflate.")
    content = bytearray()
    end = _unpack(body, 0, encoding, content, most_bytes)
    while end < len(body):
        if encoding == "deflate":
            raise InvalidRequest(Fault("body", "something follows the deflate"))
        # What follows a member of gzip is another one, or padding with zeros.
        end = _unpack(body, end, encoding, content, most_bytes)
    return bytes(content)


def _unpack(body: bytes, start: int, encoding: str, content: bytearray, most_bytes: int) -> int:
    """Add what a member holds to the content; returns where the next one begins."""
    member = zlib.decompressobj(_WINDOWS[encoding])
    while not member.eof:
        block = body[start : start + _BLOCK]
        if not block:
            raise InvalidRequest(Fault("body", f"the {encoding} is cut short"))
        try:
            content += member.decompress(block, most_bytes - len(content) + 1)
        except zlib.error as error:
            raise InvalidRequest(Fault("body", f"it is not {encoding}, as Content-Encoding says")) from error
        if len(content) > most_bytes:
            raise TooLarge(f"The body may have {most_bytes / MEBIBYTE:g} MiB once it is unpacked.")
        start += len(block) - len(member.unused_data)
    padding = _PADDING.match(body, start)
    return padding.end() if padding else start
