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
from typing import Any, NoReturn

import httptools
import structlog
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app import problems
from app.edge.close_delimited import close_delimited
from app.edge.headers import completed
from app.edge.request_head import OLD, check, without_upgrade
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
        self._in_head = False
        self._refusal: OnelayerError | None = None
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
        """Parse what has come. The parser itself takes a head of any size, and a body's trailer too."""
        cycle, had, self._heads = self._current(), self._body_bytes, 0
        is_new = not self._in_head and (cycle is None or not cycle.more_body)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.cut(*self._what_is_wrong())
        if self.transport.is_closing():
            return
        # The parser tells of a header once it is whole, and this one may never be. Where the head began after other
        # bytes of the same data, which of them are its own is known when it ends.
        if self._in_head:
            is_unended = not self._heads or (is_new and self._heads == 1)
        else:
            is_unended = cycle is not None and cycle is self.cycle and cycle.more_body and self._body_bytes == had
        if is_unended:
            self._unended_bytes += len(data)
        if self._unended_bytes > HEAD_BYTES:
            self.cut("large head", HeadTooLarge(HEAD_BYTES))

    def _parse(self, data: bytes) -> None:
        """Feed the parser. No upgrade is taken up: who asks for one is answered as everyone is (RFC 9110, 7.8).

        The parser takes every upgrade for agreed upon and reads no body after it; another one therefore reads the same
        head again, without it.
        """
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                version, method = self.parser.get_http_version(), self.parser.get_method()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
                self.parser.feed_data(without_upgrade(version, method, self.url, self.headers))
            else:
                return

    def _what_is_wrong(self) -> tuple[str, OnelayerError]:
        """With what the parser was stopped at."""
        error = self._refusal or BadRequest("This is no HTTP request that can be read.")
        return "large head" if isinstance(error, HeadTooLarge) else "no HTTP", error

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
        """A header; or one that follows a body, which is none of the request's (RFC 9110, 6.5.1)."""
        if self._in_head:
            super().on_header(name, value)
        self._add(len(name) + len(value) + len(": \r\n"))

    def on_headers_complete(self) -> None:
        """A head is whole. As long as it is not found to be sound, it is what the client waits for an answer to."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self._add(len(method) + len("  HTTP/1.1\r\n\r\n"))
        if self.parser.should_upgrade() and method != b"CONNECT":
            return  # it is read again
        try:
            check(version, method, self.headers)
        except OnelayerError as error:
            self._stop(error)
        if version == OLD:
            self.expect_100_continue = False
        super().on_headers_complete()
        self._in_head = False

    def on_message_complete(self) -> None:
        """A request is whole, unless it is read again."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _add(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            self._stop(HeadTooLarge(HEAD_BYTES))

    def _stop(self, error: OnelayerError) -> NoReturn:
        """Stop the parser, which tells only that something stopped it."""
        self._refusal = error
        raise error

    def on_body(self, body: bytes) -> None:
        """Some of a body."""
        self._body_bytes += len(body)
        self._unended_bytes = 0
        super().on_body(body)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        is_old = cycle.scope["http_version"] == OLD
        super()._start_asgi_task(cycle, close_delimited(cycle, app) if is_old else app)

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
