"""Connections, byte by byte: what a client sends is one request or several, and each is answered as HTTP has it."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from app.edge.connection import Patience, protocol
from app.metrics.requests import RequestMetrics

PATIENCE = Patience(slow_seconds=10, body_rate=1, request_seconds=10, connections=10)
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /predict HTTP/1.1\r\nHost: a\r\n"
UPGRADES = {
    "HTTP/2, as Java asks for it": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
    "a WebSocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "something of its own": b"upgrade: x\r\nconnection: UPGRADE\r\n",
}


async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that says what it was asked; in parts and without a length, if the path says so."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = [[name.decode(), value.decode()] for name, value in scope["headers"]]
    told = {"method": scope["method"], "path": scope["path"], "body": body.decode(), "headers": headers}
    content = json.dumps(told).encode()
    length = [] if scope["path"] == "/parts" else [(b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": content[:5], "more_body": True})
    await send({"type": "http.response.body", "body": content[5:]})


class Wire(asyncio.Transport):
    """What the server writes to its client."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 9)})
        self.written = b""
        self._is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        self._is_closed = True

    def pause_reading(self) -> None:
        """All that comes is given to the connection."""

    resume_reading = pause_reading


def talk(*pieces: bytes) -> bytes:
    """All that the server says to what comes in these pieces."""

    async def conversation() -> bytes:
        state, wire = ServerState(), Wire()
        kind = protocol(PATIENCE, RequestMetrics(CollectorRegistry()))
        connection = kind(Config(mirror, http=kind, ws="none", log_config=None), state, {})
        connection.connection_made(wire)
        for piece in pieces:
            if not wire.is_closing():
                connection.data_received(piece)
            for _ in range(10):
                await asyncio.sleep(0)
        while state.tasks:
            await asyncio.wait_for(asyncio.wait(state.tasks), 10)
            await asyncio.sleep(0)
        connection.connection_lost(None)
        return wire.written

    return asyncio.run(conversation())


def told(said: bytes) -> list[dict[str, Any]]:
    """What the application was asked, request by request."""
    return list(_objects(said.decode()))


def _objects(text: str) -> Iterator[dict[str, Any]]:
    while (start := text.find('{"method"')) >= 0:
        found, end = json.JSONDecoder().raw_decode(text[start:])
        yield found
        text = text[start + end :]


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", said)]


@pytest.mark.parametrize("cut", [0, 20, 60, 110, 160, 185])
@pytest.mark.parametrize("framed", ["length", "chunks"])
@pytest.mark.parametrize("upgrade", UPGRADES)
def test_an_upgrade_that_is_not_taken_up_leaves_the_body_where_it_was(upgrade: str, framed: str, cut: int) -> None:
    if framed == "length":
        body = b"Content-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED)
    else:
        body = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    sent = POST + UPGRADES[upgrade] + body + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"

    asked = told(talk(sent[:cut], sent[cut:]))

    assert [(one["method"], one["path"], one["body"]) for one in asked] == [
        ("POST", "/predict", SMUGGLED.decode()),
        ("GET", "/next", ""),
    ]


def test_upgrades_that_are_sent_together_are_a_request_each() -> None:
    one = POST + UPGRADES["something of its own"] + b"Content-Length: 2\r\n\r\nab"

    assert [asked["body"] for asked in told(talk(one * 5))] == ["ab"] * 5


def test_a_tunnel_is_not_opened_and_what_follows_is_not_read() -> None:
    assert statuses(talk(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 99\r\n\r\n" + SMUGGLED)) == [501]


@pytest.mark.parametrize("cut", [0, 110, 150])
def test_a_trailer_is_no_header_of_the_request_nor_of_the_next(cut: int) -> None:
    sent = (
        POST
        + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nAuthorization: Bearer x\r\nExpect: 100-continue\r\n\r\n"
    )
    sent += b"GET /next HTTP/1.1\r\nHost: a\r\nX-Own: 1\r\n\r\n"

    first, second = told(talk(sent[:cut], sent[cut:]))

    assert [name for name, _ in first["headers"]] == ["host", "transfer-encoding"]
    assert second["headers"] == [["host", "a"], ["x-own", "1"]]


def test_a_trailer_without_end_is_cut_off() -> None:
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-A: "

    assert statuses(talk(head, *[b"a" * 30_000] * 3)) == [431]


@pytest.mark.parametrize("path", [b"/parts", b"/whole"])
def test_http_1_0_is_answered_without_chunks_and_the_connection_ends(path: bytes) -> None:
    said = talk(b"POST " + path + b" HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", b"ab")

    assert statuses(said) == [200]
    assert b"transfer-encoding" not in said
    assert b"\r\nconnection: close\r\n" in said
    assert json.loads(said.partition(b"\r\n\r\n")[2])["body"] == "ab"


def test_http_1_1_is_answered_in_chunks_and_told_to_go_on() -> None:
    said = talk(b"POST /parts HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", b"ab")

    assert statuses(said) == [100, 200]
    assert b"transfer-encoding: chunked" in said


@pytest.mark.parametrize(
    "host", [b"localhost", b"127.0.0.1:8000", b"[::1]:80", b"[fe80::1%25eth0]", b"a_b.example.org.", b"", b"caf%C3%A9"]
)
def test_a_host_is_a_name_or_an_address_with_or_without_a_port(host: bytes) -> None:
    assert statuses(talk(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")) == [200]


@pytest.mark.parametrize(
    "hosts",
    [b"", b"Host: a\r\nHost: a\r\n", b"Host: a b/c\r\n", b"Host: a/b\r\n", b"Host: u@a\r\n", b"Host: a:b\r\n",
     b"Host: a,b\r\nHost: b\r\n", b"Host: [::1\r\n", b"Host: a?b\r\n", b"Host: caf\xc3\xa9\r\n"],
)  # fmt: skip
def test_a_request_of_no_host_or_of_several_is_refused(hosts: bytes) -> None:
    assert statuses(talk(b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")) == [400]


def test_http_1_0_need_not_name_a_host() -> None:
    assert statuses(talk(b"GET / HTTP/1.0\r\n\r\n")) == [200]


@pytest.mark.parametrize(
    ("version", "coding", "status"),
    [
        (b"1.1", b"chunked", 200),
        (b"1.1", b"Chunked", 200),
        (b"1.1", b"gzip, chunked", 501),
        (b"1.1", b"gzip\r\nTransfer-Encoding: chunked", 501),
        (b"1.0", b"chunked", 400),
    ],
)
def test_of_the_transfer_codings_chunked_alone_is_undone(version: bytes, coding: bytes, status: int) -> None:
    head = b"POST / HTTP/" + version + b"\r\nHost: a\r\nTransfer-Encoding: " + coding + b"\r\n\r\n"

    assert statuses(talk(head + b"2\r\nab\r\n0\r\n\r\n")) == [status]


@pytest.mark.parametrize("version", [b"2.0", b"0.9"])
def test_another_version_of_http_is_refused(version: bytes) -> None:
    assert statuses(talk(b"GET / HTTP/" + version + b"\r\nHost: a\r\n\r\n")) == [505]
