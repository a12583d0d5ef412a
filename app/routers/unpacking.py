"""Compressed bodies of requests, unpacked in memory up to a limit."""

import zlib

from app.errors import Fault, InvalidRequest, TooLarge, UnsupportedMediaType


def unpacked(body: bytes, encoding: str | None, most_bytes: int) -> bytes:
    """The body as it was before the client compressed it, up to the limit of all bodies."""
    encoding = (encoding or "identity").strip().lower()
    if encoding == "identity":
        return body
    windows = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
    if encoding not in windows:
        raise UnsupportedMediaType("A compressed body is gzip or deflate.")
    unpacker = zlib.decompressobj(windows[encoding])
    try:
        content = unpacker.decompress(body, most_bytes)
    except zlib.error as error:
        raise InvalidRequest(Fault("body", f"it is not {encoding}, as Content-Encoding says")) from error
    if unpacker.unconsumed_tail:
        raise TooLarge("The body is larger than this server takes once it is unpacked.")
    if not unpacker.eof:
        raise InvalidRequest(Fault("body", f"the {encoding} is cut short"))
    return content
