"""Idempotency-Key on every POST: the layer between the network and the handlers that answers repetitions.

The first request with a key goes through, and its reply is kept before its last byte is sent. A repetition gets that
reply. If the server died before there was one, the repetition gets what the first request made, or is the first.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import structlog
from anyio import CancelScope
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.access.viewer import NOBODY, viewer
from app.errors import Fault, IdempotencyConflict, InvalidRequest, OnelayerError, RequestInProgress, StorageFull
from app.idempotency import Fingerprint, Held, Keys, Known, work_under

log = structlog.get_logger(__name__)

HEADER = b"idempotency-key"
LONGEST_WAIT_SECONDS = 65.0
LOOK_SECONDS = 0.1
LARGEST_REPLY_BYTES = 16 * 2**20
LARGEST_UNREAD_BYTES = 64 * 2**20

_KEY = re.compile(rb"[\x21-\x7e]{1,255}")
_OF_THE_FIRST = (HEADER, b"content-type", b"content-length", b"content-encoding", b"prefer", b"if-none-match")


class IdempotencyKeys:
    """Handles POSTs that carry an Idempotency-Key, and lets everything else through."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        keys = _lines(scope, HEADER) if scope["type"] == "http" and scope["method"] == "POST" else []
        # Nobody's requests are refused by the route; until then, nothing is kept for them.
        if not keys or viewer() is NOBODY:
            await self._app(scope, receive, send)
            return
        try:
            key, body = _key(keys), _body(scope, receive)
            with problems.naming_a_busy_database(scope["path"]):
                found = await self._take(key, body.fingerprint)
            await self._handle(found, body, scope, send)
        except OnelayerError as error:
            await problems.response(error)(scope, receive, send)

    async def _handle(self, found: Held | Known, body: "_Body", scope: Scope, send: Send) -> None:
        if isinstance(found, Held):
            try:
                await self._first(found, scope, body, send)
            finally:
                self._keys.let_go(found)
            return
        if not await body.drain() or body.fingerprint.hex(found.is_negotiated) != found.fingerprint:
            raise IdempotencyConflict
        if found.status is not None:
            await _send_again(found, send)
        else:
            await self._show(str(found.location), scope, send)

    async def _take(self, key: str, fingerprint: Fingerprint) -> Held | Known:
        clock = asyncio.get_running_loop().time
        deadline = clock() + LONGEST_WAIT_SECONDS
        while True:
            found = await run_in_threadpool(self._keys.take, key, fingerprint)
            if found is not None:
                return found
            if clock() >= deadline:
                raise RequestInProgress(5)
            await asyncio.sleep(LOOK_SECONDS)

    async def _first(self, held: Held, scope: Scope, body: "_Body", send: Send) -> None:
        reply = _Reply(send)
        try:
            with work_under(held):
                await self._app(scope, body.receive, reply.send)
            if reply.is_success() and await body.drain():
                await self._write(self._keys.answer, held, reply.status, reply.headers, reply.body)
                await reply.complete()
                return
        except BaseException:
            await self._write(self._keys.release, held)
            raise
        await self._write(self._keys.release, held)
        await reply.complete()

    async def _write(self, write: Callable[..., None], *what: Any) -> None:
        """Note what became of a key. The reply does not depend on it: a database that is away has it told again."""
        # In a thread, since the database may make it wait; and to its end, though the request may be cancelled.
        with CancelScope(shield=True):
            try:
                await run_in_threadpool(write, *what)
            except (SQLAlchemyError, StorageFull):
                log.warning("what became of an idempotency key could not be written", exc_info=True)

    async def _show(self, location: str, scope: Scope, send: Send) -> None:
        """Reply with what the first request made, as it is now."""
        headers = [(name, value) for name, value in scope["headers"] if name not in _OF_THE_FIRST]
        look = {
            **scope, "method": "GET", "path": location, "raw_path": location.encode(),
            "query_string": b"", "headers": headers,
        }  # fmt: skip

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def rewrite(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                status = 202 if location.startswith("/jobs/") else 201
                added = [(b"location", location.encode()), (b"idempotency-replayed", b"true")]
                message = {**message, "status": status, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(look, receive, rewrite)


class _Body:
    """The body of a request, fingerprinted as it is read."""

    def __init__(self, receive: Receive, fingerprint: Fingerprint) -> None:
        self.fingerprint = fingerprint
        self._receive = receive
        self._whole = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.fingerprint.update(message.get("body", b""))
            self._whole = not message.get("more_body", False)
        return message

    async def drain(self) -> bool:
        """Read what the handler has left unread; says whether the body has come to its end."""
        unread = 0
        while not self._whole:
            message = await self.receive()
            unread += len(message.get("body", b""))
            if message["type"] != "http.request" or unread > LARGEST_UNREAD_BYTES:
                return False
        return True


class _Reply:
    """A reply on its way out; its last piece waits until the reply is kept."""

    def __init__(self, send: Send) -> None:
        self.status = 0
        self.headers: list[list[str]] = []
        self.body = b""
        self._send = send
        self._last: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in message["headers"]]
        elif len(self.body) <= LARGEST_REPLY_BYTES:
            self.body += message.get("body", b"")
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._last = message
        else:
            await self._send(message)

    def is_success(self) -> bool:
        """Whether it is worth keeping. What is too large to keep was read or computed, and can be so again."""
        return 200 <= self.status < 300 and len(self.body) <= LARGEST_REPLY_BYTES

    async def complete(self) -> None:
        """Send the last piece."""
        if self._last is not None:
            await self._send(self._last)


def _body(scope: Scope, receive: Receive) -> _Body:
    media_type, accept = (b", ".join(_lines(scope, name)) for name in (b"content-type", b"accept"))
    return _Body(receive, Fingerprint(scope["path"].encode(), scope["query_string"], media_type, accept))


async def _send_again(reply: Known, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    headers.append((b"idempotency-replayed", b"true"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _lines(scope: Scope, wanted: bytes) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == wanted]


def _key(values: list[bytes]) -> str:
    value = values[0]
    if len(set(values)) > 1:
        raise InvalidRequest(Fault("Idempotency-Key", "two different keys came with one request; send one"))
    if not _KEY.fullmatch(value):
        raise InvalidRequest(Fault("Idempotency-Key", "use 1 to 255 visible ASCII characters, such as a UUID"))
    return value.decode("ascii")
