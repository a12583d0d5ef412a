"""Reception: the body of an upload goes to disk as it arrives, whole bodies and multipart alike."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from app.errors import BadRequest, Fault, InvalidRequest, TooLarge, UnsupportedMediaType

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

BLOCK_BYTES = 1024 * 1024
FIELD_LIMIT_BYTES = 1024 * 1024
PARTS_LIMIT = 32


Room = Callable[[int], None]
"""Raises if there is no room for so many bytes more."""


def _room_for_all(_size: int) -> None:
    """There is."""


@dataclass
class Received:
    """What arrived: files by the name of their part, with what they were called, and the other fields as text."""

    files: dict[str, Path] = field(default_factory=dict)
    file_names: dict[str, str] = field(default_factory=dict)
    media_types: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many bytes the files have together."""
        return sum(path.stat().st_size for path in self.files.values())


async def receive_body(request: Request, folder: Path, room: Room = _room_for_all) -> Received:
    """Write the whole body to one file, known as the part `file`."""
    path = folder / "file"
    with path.open("wb") as file:
        await _pump(request, file.write, room)
    media_type = request.headers.get("content-type", "")
    return Received(files={"file": path}, media_types={"file": media_type})


async def receive_multipart(request: Request, folder: Path, room: Room = _room_for_all) -> Received:
    """Write each file part to a file of its own, and keep the other parts as text."""
    check_plain(request)
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if not boundary:
        raise BadRequest("The Content-Type of a multipart body has to name its boundary.")
    with ExitStack() as stack:
        parts = _Parts(folder, stack)
        try:
            parser = MultipartParser(boundary, parts.callbacks())
            await _pump(request, _AfterPreamble(boundary, parser.write).write, room)
            parser.finalize()
        except FormParserError as error:
            raise BadRequest(f"The multipart body is broken: {error}.") from error
        if not parts.ended:
            raise BadRequest("The multipart body ends before its closing boundary.")
    return parts.received


def check_plain(request: Request) -> None:
    """Refuse a multipart body that is compressed as a whole."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType("A multipart body is not read compressed; send it without Content-Encoding.")


async def _pump(request: Request, consume: Callable[[bytes], int], room: Room) -> None:
    """Hand the body on in large blocks, in a thread, so that neither disk nor parser holds up the event loop."""

    def keep(block: bytes) -> None:
        room(len(block))
        consume(block)

    block = bytearray()
    async for chunk in request.stream():
        block += chunk
        if len(block) >= BLOCK_BYTES:
            await run_in_threadpool(keep, bytes(block))
            block.clear()
    if block:
        await run_in_threadpool(keep, bytes(block))


class _AfterPreamble:
    """Hands a multipart body on from its first boundary; what stands before that is nobody's (RFC 2046, 5.1.1)."""

    def __init__(self, boundary: bytes, write: Callable[[bytes], int]) -> None:
        self._mark = b"\r\n--" + boundary
        self._held = b"\r\n"  # the body may begin with its boundary
        self._write = write
        self._has_begun = False

    def write(self, block: bytes) -> int:
        """Take the next bytes of the body."""
        if self._has_begun:
            return self._write(block)
        self._held += block
        at = self._held.find(self._mark)
        if at < 0:
            self._held = self._held[1 - len(self._mark) :]
            return len(block)
        self._has_begun = True
        return self._write(self._held[at + len(b"\r\n") :])


class _Parts:
    """Sorts the parts of a multipart body as the parser finds them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.received = Received()
        self.ended = False
        self._folder = folder
        self._stack = stack
        self._count = 0
        self._header = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._file: BinaryIO | None = None
        self._text = b""

    def callbacks(self) -> "MultipartCallbacks":
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._on_end,
            "on_end": self._on_finish,
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > PARTS_LIMIT:
            raise TooLarge(f"A multipart body may have at most {PARTS_LIMIT} parts.")
        self._headers, self._header, self._value = {}, b"", b""
        self._file, self._text = None, b""

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if not self._name:
            raise BadRequest("Every part of a multipart body needs a name in its Content-Disposition.")
        if self._name in self.received.files or self._name in self.received.fields:
            raise InvalidRequest(Fault(self._name, "this part is given twice"))
        if b"filename" in options:
            self._open(options[b"filename"].decode("utf-8", "replace"))

    def _open(self, file_name: str) -> None:
        # The client's file name tells the format; it never becomes a path.
        path = self._folder / f"part-{self._count}"
        self._file = self._stack.enter_context(path.open("wb"))
        self.received.files[self._name] = path
        self.received.file_names[self._name] = file_name
        self.received.media_types[self._name] = self._headers.get(b"content-type", b"").decode("latin-1")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > FIELD_LIMIT_BYTES:
            raise TooLarge(f"The form field {self._name!r} is larger than {FIELD_LIMIT_BYTES} bytes.")

    def _on_end(self) -> None:
        if self._file is not None:
            self._file.flush()
            return
        try:
            self.received.fields[self._name] = self._text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidRequest(Fault(self._name, "this form field is no UTF-8 text")) from error

    def _on_finish(self) -> None:
        self.ended = True
