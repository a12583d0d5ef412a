"""One connection: uvicorn's protocol, with patience that ends.

uvicorn waits for ever for the head and for the body of a request. Nothing is timed request by request: once a second
`Connections` looks at every open one, and cuts those whose client is too slow, or whose request takes too long.

    head    whole within `slow_seconds` of its beginning, at most 64 KiB of it
    body    never below `body_rate` bytes a second for `slow_seconds`, while the server is reading
    work    from the last byte of the body to the first of the reply at most `request_seconds`
    reply   read by the client: at least something of it every minute
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app import problems
from app.edge.headers import completed
from app.errors import BadRequest, HeadTooLarge, OnelayerError, Overloaded, RequestTimeout, TookTooLong
from app.identifiers import new_id
from app.metrics.requests import RequestMetrics

log = structlog.get_logger(__name__)

HEAD_BYTES = 64 * 1024
UNREAD_SECONDS = 60.0
RETRY_SECONDS = 5


@dataclass(frozen=True)
class Patience:
    """How long clients are waited for, and how many of them."""

    slow_seconds: float
    body_rate: float
    request_seconds: float
    connections: int


class Connection(HttpToolsProtocol):
    """A connection that knows what it waits for, and since when."""

    patience: Patience
    metrics: RequestMetrics

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_bytes = self._unended_bytes = 0
        self._in_head = self._is_too_large = False
        self._heads = 0  # begun in the data that is being parsed
        self._body_bytes = 0
        self._waited = self._closing = 0.0
        self._waits_for: tuple[str, Any] = "", None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or say that there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.patience.connections:
            self.cut("too many", Overloaded(self.patience.connections, RETRY_SECONDS))

    def data_received(self, data: bytes) -> None:
        """Parse what has come. The parser itself takes a head of any size."""
        cycle, self._heads = self._current(), 0
        is_new = not self._in_head and (cycle is None or not cycle.more_body)
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        # The parser tells of a header once it is whole, and this one may never be. Where the head began after other
        # bytes of the same data, which of them are its own is known when it ends.
        if not self._heads or (is_new and self._heads == 1):
            self._unended_bytes += len(data)
        if self._unended_bytes > HEAD_BYTES:
            self.cut("large head", HeadTooLarge(HEAD_BYTES))

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head, self._head_bytes, self._unended_bytes = True, 0, 0
        self._heads += 1

    def on_url(self, url: bytes) -> None:
        """Some of the address."""
        super().on_url(url)
        self._add(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or one that follows a body."""
        super().on_header(name, value)
        self._add(len(name) + len(value) + len(": \r\n"))

    def on_headers_complete(self) -> None:
        """A head is whole. As long as it is not found to be sound, it is what the client waits for an answer to."""
        self._add(len(self.parser.get_method()) + len("  HTTP/1.1\r\n\r\n"))
        super().on_headers_complete()
        self._in_head = False

    def _add(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            self._is_too_large = True
            raise HeadTooLarge(HEAD_BYTES)  # stops the parser, which has `send_400_response` called

    def on_body(self, body: bytes) -> None:
        """Some of a body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or too much of it, is refused as everything else is."""
        if self._is_too_large:
            self.cut("large head", HeadTooLarge(HEAD_BYTES))
            return
        self.cut("no HTTP", BadRequest("This is no HTTP request that can be read."))

    def look(self, seconds: float) -> None:
        """Some seconds have passed: cut the connection if its client's time is up."""
        if self.transport.is_closing():
            # Whoever does not read the last reply does not keep the connection either.
            self._closing += seconds
            if self._closing >= self.patience.slow_seconds:
                self.transport.abort()
            return
        waits_for = self._waiting()
        self._waited = self._waited + seconds if waits_for == self._waits_for else 0.0
        self._waits_for = waits_for
        self._body_bytes = 0
        what, patience = waits_for[0], self.patience
        if what in ("head", "body") and self._waited >= patience.slow_seconds:
            self.cut(f"slow {what}", RequestTimeout(what, patience.slow_seconds))
        elif what == "work" and self._waited >= patience.request_seconds:
            self.cut("long work", TookTooLong(patience.request_seconds))
        elif what == "reply" and self._waited >= UNREAD_SECONDS:
            self.cut("unread reply")

    def _waiting(self) -> tuple[str, Any]:
        """What the connection waits for; as long as it is the same, nothing has come forward."""
        cycle = self._current()
        if cycle is None or cycle.response_complete:
            # Idle, it is uvicorn's to end; what comes after a reply is a head, or a body that nobody asked for.
            return ("", None) if self.timeout_keep_alive_task is not None else ("head", cycle)
        if cycle.more_body and not self.flow.read_paused and not cycle.waiting_for_100_continue:
            enough = self._body_bytes >= self.patience.body_rate
            return ("", None) if enough else ("body", cycle)
        if self.flow.write_paused:
            return "reply", self.transport.get_write_buffer_size()
        return ("", None) if cycle.response_started else ("work", cycle)

    def cut(self, reason: str, error: OnelayerError | None = None) -> None:
        """End the connection; a client that waits for a reply, and has had nothing of it, is told why."""
        self.metrics.cut(reason)
        request_id = new_id()
        client = self.client[0] if self.client else None
        log.info("a connection is cut", reason=reason, client=client, request_id=request_id)
        if error is None:
            self.transport.abort()
            return
        if self._is_waited_for():
            self.transport.write(_reply(error, request_id))
        if (cycle := self._current()) is not None:
            # What the handler may still say goes nowhere.
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    def _is_waited_for(self) -> bool:
        """Whether the client has asked for something, and no other reply is on its way."""
        cycle = self._current()
        if cycle is None or cycle.response_complete:
            return self._in_head or (cycle is None and len(self.connections) > self.patience.connections)
        return not cycle.response_started and not self.pipeline

    def _current(self) -> RequestResponseCycle | None:
        """The newest request, if there has been one; uvicorn's own annotation leaves the None out."""
        return self.cycle


class Connections:
    """All connections of a server: looked at once a second."""

    def __init__(self, state: ServerState, metrics: RequestMetrics) -> None:
        self._state = state
        self._metrics = metrics

    def look(self, seconds: float) -> None:
        """Cut those whose time is up."""
        self._metrics.connections.set(len(self._state.connections))
        for connection in list(self._state.connections):
            if isinstance(connection, Connection):
                connection.look(seconds)


def protocol(patience: Patience, metrics: RequestMetrics) -> type[Connection]:
    """The class that uvicorn is to make connections of."""
    return type("PatientConnection", (Connection,), {"patience": patience, "metrics": metrics})


def _reply(error: OnelayerError, request_id: str) -> bytes:
    """A whole reply, for a client that no handler will answer."""
    response = problems.response(error)
    phrase = HTTPStatus(error.status).phrase
    headers = completed([*response.raw_headers, (b"connection", b"close")], request_id.encode())
    head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return f"HTTP/1.1 {error.status} {phrase}\r\n".encode() + head + b"\r\n" + bytes(response.body)
