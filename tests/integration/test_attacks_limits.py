"""Attacks on the server's resources: each is refused or survived, and nothing has changed."""

import gzip
import io
import json
import resource
import socket
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import httpx
import numpy as np
import pytest

from tests.patience import LONGEST_SECONDS, until
from tests.running_server import RunningServer

LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 100, "noise_std": 0.01, "seed": 0}
JOB = {"dataset": "line", "model": "linear", "epochs": 1, "batch_size": 10, "learning_rate": 0.03}
STREAMS = 1000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with limits that a test can reach."""
    settings = {
        "slow_seconds": 2.0, "request_seconds": 6.0, "unpacked_limit_mib": 4,
        "upload_limit_mib": 8, "rows_limit": 1000, "columns_limit": 50,
        "cells_limit": 10_000, "uploads_limit": 2, "event_streams_limit": STREAMS - 100,
    }  # fmt: skip
    with RunningServer(tmp_path_factory.mktemp("attacked") / "data", **settings) as running:
        running.create_dataset(LINE, name="line")
        running.train(**JOB, model_name="line")
        yield running


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as a test with a thousand connections needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * STREAMS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the system allows {hard} open files, and this takes {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(autouse=True)
def unchanged(server: RunningServer) -> Iterator[None]:
    """What there is before an attack is there after it, and nothing else; the server is well."""
    before = inventory(server)
    yield
    assert inventory(server) == before
    assert server.is_ready()
    assert '"level":"error"' not in server.log.read_text()


def inventory(server: RunningServer) -> dict[str, list[str]]:
    lists = {path: server.client.get(path, params={"limit": 500}).json()["items"] for path in ("/datasets", "/models")}
    files = [path.name for path in (server.data_dir / "staging").iterdir() if not path.name.startswith(".probe")]
    return {path: [item["id"] for item in items] for path, items in lists.items()} | {"staging": files}


def refused(reply: httpx.Response, status: int) -> dict[str, Any]:
    assert reply.status_code == status, reply.text[:500]
    assert reply.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = reply.json()
    return found


def upload(server: RunningServer, content: bytes, media_type: str, **headers: str) -> httpx.Response:
    return server.client.post("/datasets", content=content, headers={"Content-Type": media_type, **headers})


def table(columns: int, rows: int) -> bytes:
    """CSV with its header."""
    names = ",".join(f"c{number}" for number in range(columns))
    return (names + "\n" + (",".join(["1"] * columns) + "\n") * rows).encode()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


# ── bombs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_gzip_bomb_stops_at_the_limit(server: RunningServer) -> None:
    bomb = gzip.compress(b"a,b\n" + b"1,2\n" * 16_000_000)
    assert len(bomb) < 2**20

    refused(upload(server, bomb, "text/csv", **{"Content-Encoding": "gzip"}), 413)
    refused(server.client.post("/datasets", files={"file": ("bomb.csv.gz", bomb)}), 413)


def test_a_zip_bomb_stops_at_the_limit(server: RunningServer) -> None:
    bomb = npz(X=np.zeros((8_000_000, 1)), y=np.zeros(8_000_000))
    assert len(bomb) < 2**20

    refused(upload(server, bomb, "application/x-npz"), 413)


def test_a_zip_of_many_layers_is_no_table(server: RunningServer) -> None:
    inner = npz(X=np.zeros((3, 1)), y=np.zeros(3))
    for _ in range(5):
        outer = io.BytesIO()
        with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("X.npy", inner)
        inner = outer.getvalue()

    refused(upload(server, inner, "application/x-npz"), 422)


def test_a_gzip_bomb_for_inference_stops_at_the_limit(server: RunningServer) -> None:
    bomb = gzip.compress(b'{"inputs": [' + b" " * 200_000_000)

    reply = server.client.post("/v2/models/line/infer", content=bomb, headers={"Content-Encoding": "gzip"})

    refused(reply, 413)


# ── size ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "what"),
    [(table(1, 1001), "1000 rows"), (table(51, 1), "50 columns"), (table(20, 501), "10000 values")],
)
def test_a_table_beyond_rows_columns_or_cells_is_refused(server: RunningServer, content: bytes, what: str) -> None:
    assert what in refused(upload(server, content, "text/csv"), 413)["detail"]


def test_more_synthetic_data_than_memory_is_refused(server: RunningServer) -> None:
    source = {**LINE, "rows": 10_000_000, "weights": [1] * 10_000}

    found = refused(server.client.post("/datasets", json={"source": source}), 422)

    assert found["errors"][0]["location"] == "source.rows"


def test_a_body_beyond_the_upload_limit_is_refused(server: RunningServer) -> None:
    refused(upload(server, b"a\n" + b"1\n" * 5_000_000, "text/csv"), 413)


def test_what_goes_beyond_the_disk_budget_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("small") / "data"
    with RunningServer(folder, workers=0, ready="/healthz", disk_budget_mib=2) as own:
        problem = refused(upload(own, table(1, 1_000_000), "text/csv"), 507)
        assert "2.0 MiB" in problem["detail"]
        assert own.client.get("/datasets").json()["items"] == []
        assert upload(own, table(1, 1000), "text/csv").status_code == 201


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────────

NESTED = {
    "arrays": b"[" * 100_000 + b"]" * 100_000,
    "objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "open": b"[" * 500_000,
    "in a field": b'{"dataset": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    "quotes": b'{"a' + b'\\"' * 400_000,
}
FIELDS = b"{" + b",".join(b'"f%d":1' % number for number in range(1_000_000)) + b"}"
PATHS = ["/jobs", "/datasets", "/predict", "/models/line/evaluate", "/models/line/predictions", "/v2/models/line/infer"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", NESTED)
def test_a_deep_nesting_is_refused(server: RunningServer, path: str, kind: str) -> None:
    headers = {"Content-Type": "application/json"}

    refused(server.client.post(path, content=NESTED[kind], headers=headers), 422)


@pytest.mark.parametrize("path", PATHS)
def test_a_million_fields_are_refused_without_naming_each(server: RunningServer, path: str) -> None:
    reply = server.client.post(path, content=FIELDS, headers={"Content-Type": "application/json"})

    assert reply.status_code in (413, 422)
    assert len(reply.content) < 1000


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 100_000, "NaN", "Infinity", "-Infinity", "0x10", "1_0"])
@pytest.mark.parametrize("field", ["epochs", "learning_rate", "seed"])
def test_a_number_that_is_none_is_refused(server: RunningServer, field: str, number: str) -> None:
    body = json.dumps({**JOB, field: "@"}).replace('"@"', number).encode()

    refused(server.client.post("/jobs", content=body, headers={"Content-Type": "application/json"}), 422)


@pytest.mark.parametrize("number", ["1e999", "1" * 100_000, "NaN"])
def test_a_number_that_no_model_takes_is_refused(server: RunningServer, number: str) -> None:
    body = f'{{"model": "line", "instances": [[{number}, 1.0]]}}'.encode()

    refused(server.client.post("/predict", content=body, headers={"Content-Type": "application/json"}), 422)


# ── slowness ─────────────────────────────────────────────────────────────────────────────────────────────────────


def connect(server: RunningServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=LONGEST_SECONDS)


def said(connection: socket.socket) -> bytes:
    """All that the server says until it ends the connection."""
    text = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            text += part
    return text


def trickle(connection: socket.socket, piece: bytes) -> None:
    """Send a piece every tenth of a second until the server has had enough."""
    connection.settimeout(0.1)
    until(lambda: has_had_enough(connection, piece))
    connection.settimeout(LONGEST_SECONDS)


def has_had_enough(connection: socket.socket, piece: bytes) -> bool:
    try:
        connection.send(piece)
        connection.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def is_cut_off(connection: socket.socket, piece: bytes) -> bool:
    """Whether the server takes no more."""
    try:
        connection.sendall(piece)
    except ConnectionError:
        return True
    return False


def test_a_head_that_comes_drop_by_drop_is_cut_off(server: RunningServer) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        trickle(connection, b"X-A: b\r\n")
        assert said(connection).startswith(b"HTTP/1.1 408 ")


def test_a_connection_that_says_nothing_is_closed(server: RunningServer) -> None:
    with closing(connect(server)) as connection:
        assert said(connection) == b""


def test_a_second_request_that_comes_drop_by_drop_is_cut_off_too(server: RunningServer) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        trickle(connection, b"X-A: b\r\n")
        assert b"HTTP/1.1 408 " in said(connection)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("/datasets", "text/csv"), ("/predict", "application/json"), ("/jobs", "application/json")],
)
def test_a_body_that_comes_drop_by_drop_is_cut_off(server: RunningServer, path: str, media_type: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: 100000\r\n\r\n"
    with closing(connect(server)) as connection:
        connection.sendall(head.encode())
        trickle(connection, b"1")
        assert said(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_without_end_is_cut_off_at_the_limit(server: RunningServer) -> None:
    head = b"POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"1,2\n" * 16384 + b"\r\n"
    with closing(connect(server)) as connection:
        connection.sendall(head)
        until(lambda: is_cut_off(connection, chunk * 16))


def test_a_head_without_end_is_cut_off(server: RunningServer) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX-A: ")
        with suppress(OSError):
            for _ in range(1000):
                connection.sendall(b"a" * 10_000)
        assert said(connection).startswith(b"HTTP/1.1 431 ")


HEAD_BYTES = 64 * 1024
FILLED: dict[str, tuple[bytes, bytes, int]] = {
    "a header": (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-A: ", b"\r\n\r\n", 200),
    "a path": (b"GET /", b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
    "a query": (b"GET /healthz?", b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200),
}


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("size", [HEAD_BYTES, HEAD_BYTES + 1, 66_000, 200_000, 900_000])
@pytest.mark.parametrize("filled", FILLED)
def test_a_head_has_64_kib_and_not_a_byte_more(server: RunningServer, filled: str, size: int, pieces: int) -> None:
    start, end, status = FILLED[filled]
    head = start + b"a" * (size - len(start) - len(end)) + end
    with closing(connect(server)) as connection:
        with suppress(OSError):
            for piece in range(pieces):
                connection.sendall(head[piece * size // pieces : (piece + 1) * size // pieces])
                time.sleep(0.05)
        reply = said(connection)
    assert reply.startswith(b"HTTP/1.1 %d " % (status if size <= HEAD_BYTES else 431)), reply[:200]


def test_a_head_without_an_end_is_cut_off_as_soon_as_it_is_too_large(server: RunningServer) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX-A: " + b"a" * HEAD_BYTES)
        assert said(connection).startswith(b"HTTP/1.1 431 ")  # when the server's patience ends, it is a 408


def test_requests_that_are_sent_together_have_a_head_each(server: RunningServer) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 40_000 + b"\r\n\r\n"
    last = one.replace(b"X-A", b"Connection: close\r\nX-A")
    with closing(connect(server)) as connection:
        connection.sendall(one * 4 + last[:30_000])
        time.sleep(0.2)
        connection.sendall(last[30_000:])
        assert said(connection).count(b"HTTP/1.1 200 ") == 5


@pytest.mark.parametrize("address", [b"http://[", b"//a:b:c/", b"?"])
def test_an_address_that_is_none_is_answered(server: RunningServer, address: bytes) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"GET " + address + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert said(connection).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 "))


def test_what_is_no_http_is_answered_with_a_problem(server: RunningServer) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        reply = said(connection)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in reply
    assert b"x-content-type-options: nosniff" in reply


def test_a_client_that_leaves_in_the_middle_of_its_upload_leaves_nothing(server: RunningServer) -> None:
    head = b"POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 90000\r\n\r\n"
    with closing(connect(server)) as connection:
        connection.sendall(head + table(2, 300))
        until(lambda: inventory(server)["staging"])
    until(lambda: inventory(server)["staging"] == [])


def test_a_request_that_takes_too_long_is_answered_with_503(server: RunningServer) -> None:
    job = server.client.post("/jobs", json={**JOB, "epochs": 1_000_000}).json()["id"]

    problem = refused(server.client.get(f"/jobs/{job}", headers={"Prefer": "wait=60"}), 503)

    assert problem["type"].endswith(":took-too-long")
    assert "6 seconds" in problem["detail"]
    server.client.post(f"/jobs/{job}/cancel")
    over = until(lambda: over_of(server, job))
    server.client.delete(f"/models/{over['model_id']}")


def over_of(server: RunningServer, job: str) -> dict[str, Any] | None:
    found: dict[str, Any] = server.client.get(f"/jobs/{job}").json()
    return found if found["status"] == "cancelled" else None


# ── crowds ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_more_uploads_at_once_than_there_may_be_are_told_to_wait(server: RunningServer) -> None:
    head = b"POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 90000\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(closing(connect(server))).sendall(head + table(2, 300))
        until(lambda: len(inventory(server)["staging"]) == 2)
        reply = upload(server, b"a\n1\n", "text/csv")
        assert "2 uploads" in refused(reply, 429)["detail"]
        assert int(reply.headers["retry-after"]) > 0
    until(lambda: inventory(server)["staging"] == [])


@pytest.mark.usefixtures("many_files")
def test_a_thousand_event_streams_keep_nobody_else_waiting(server: RunningServer) -> None:
    job = server.client.post("/jobs", json={**JOB, "epochs": 1_000_000}).json()["id"]
    request = f"GET /jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with ExitStack() as stack:
        streams = [stack.enter_context(closing(connect(server))) for _ in range(STREAMS)]
        for stream in streams:
            stream.sendall(request)
        statuses = [stream.recv(13) for stream in streams]
        reply = server.client.post("/predict", json={"model": "line", "instances": [[1, 2]]})
    server.client.post(f"/jobs/{job}/cancel")

    assert reply.status_code == 200, reply.text
    # Those that are admitted at the same moment may be a few too many.
    assert statuses.count(b"HTTP/1.1 200 ") in range(STREAMS - 150, STREAMS - 20)
    assert statuses.count(b"HTTP/1.1 200 ") + statuses.count(b"HTTP/1.1 429 ") == STREAMS
    over = server.client.get(f"/jobs/{job}", headers={"Prefer": "wait=30"}).json()
    assert over["status"] == "cancelled"
    server.client.delete(f"/models/{over['model_id']}")
