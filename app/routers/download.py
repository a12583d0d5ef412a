"""A file as a reply: whole, or the part of it that `Range` asks for (RFC 9110, §14); or made while it is sent."""

import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, BinaryIO

import anyio
from starlette.responses import FileResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.schemas.problem import problems

_RANGE = r"(?:[0-9]{1,100}-[0-9]{0,100}|-[0-9]{1,100})"
_RANGES = re.compile(rf"bytes=[ \t]*{_RANGE}(?:[ \t]*,[ \t]*{_RANGE})*[ \t]*", re.IGNORECASE)

RANGE = {
    "name": "Range",
    "in": "header",
    "required": False,
    "description": "Which bytes of the file to send, such as `bytes=0-1023`. Other units, and what is no range, are "
    "passed over.",
    "schema": {"type": "string", "examples": [None]},
}
"""The header as the OpenAPI document shows it; it is read where the file is sent."""


def parts(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """What a range is answered with, for the OpenAPI document."""
    content: dict[str, Any] = {kind: {} for kind in (*media_types, "multipart/byteranges")}
    return problems(416) | {206: {"description": "The part of the file that `Range` asks for.", "content": content}}


class Download(FileResponse):
    """An open file. A `Range` that is none of bytes counts as if it was not there, as §14.2 has it."""

    def __init__(self, file: BinaryIO, **about: Any) -> None:
        super().__init__(file.name, stat_result=os.fstat(file.fileno()), **about)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        headers = [(name, value) for name, value in scope["headers"] if name != b"range" or _is_of_bytes(value)]
        with self._file:
            await super().__call__({**scope, "headers": headers}, receive, send)

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[anyio.AsyncFile[bytes]]:
        # The base would open it by its name, after the head was sent: it may have been deleted since.
        yield anyio.wrap_file(self._file)


def streamed(pieces: Iterator[bytes], media_type: str, headers: Mapping[str, str]) -> StreamingResponse:
    """A file that is made while it is sent, but for its first piece: what goes wrong until then is a problem document.

    From then on all that it is made of is open, and may be deleted by others.
    """
    first = next(pieces, b"")
    return StreamingResponse(chain([first], pieces), media_type=media_type, headers=headers)


def _is_of_bytes(value: bytes) -> bool:
    text = value.decode("latin-1")
    if _RANGES.fullmatch(text) is None:
        return False
    ranges = (part.strip().split("-") for part in text.partition("=")[2].split(","))
    return all(not first or not last or int(first) <= int(last) for first, last in ranges)
