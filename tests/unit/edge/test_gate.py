"""The gate: ids, headers, counting and logging of every request."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
import structlog
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.types import Message
from structlog.testing import capture_logs

from app import problems
from app.edge import gate as module
from app.edge.gate import Gate
from app.edge.headers import POLICY
from app.identifiers import is_id
from app.metrics.requests import RequestMetrics
from tests.unit.asgi import call, problem


def routes(api: FastAPI) -> None:
    @api.get("/things/{thing}")
    def thing(thing: str) -> str:
        return thing

    @api.get("/page")
    def page() -> HTMLResponse:
        return HTMLResponse("", headers={"Content-Security-Policy": "default-src 'self'"})

    @api.get("/healthz")
    def healthz() -> Response:
        return Response()

    @api.get("/fault")
    def fault() -> None:
        raise RuntimeError("secret")

    @api.post("/upload")
    async def upload(request: Request) -> int:
        return len([chunk async for chunk in request.stream()])


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def gate(registry: CollectorRegistry) -> Gate:
    api = FastAPI(docs_url=None)
    routes(api)
    problems.install(api)
    return Gate(problems.ProblemDocuments(api), RequestMetrics(registry), log_requests=True)


def test_a_request_without_an_id_gets_one_and_each_another(gate: Gate):
    first, second = (call(gate, "GET", "/things/a").headers["x-request-id"] for _ in range(2))

    assert is_id(first)
    assert is_id(second)
    assert first != second


def test_a_sane_id_of_the_client_is_kept(gate: Gate):
    reply = call(gate, "GET", "/things/a", headers={"X-Request-ID": "trace-17:b/3"})

    assert reply.headers["x-request-id"] == "trace-17:b/3"


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "-a", "<script>", "a\tb", "é"])
def test_an_id_that_is_none_is_replaced(gate: Gate, given: str):
    reply = call(gate, "GET", "/things/a", headers={"X-Request-ID": given.encode()})

    assert is_id(reply.headers["x-request-id"])


@pytest.mark.parametrize(("path", "status"), [("/things/a", 200), ("/nowhere", 404), ("/fault", 500)])
def test_every_reply_has_the_headers_that_keep_browsers_in_bounds(gate: Gate, path: str, status: int):
    reply = call(gate, "GET", path)

    assert reply.status_code == status
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["x-frame-options"] == "DENY"
    assert reply.headers["content-security-policy"] == POLICY.decode()
    assert "server" not in reply.headers
    assert "access-control-allow-origin" not in reply.headers


def test_a_page_keeps_its_own_policy(gate: Gate):
    assert call(gate, "GET", "/page").headers["content-security-policy"] == "default-src 'self'"


def test_requests_are_counted_by_route_and_status_and_not_by_what_clients_make_up(
    gate: Gate, registry: CollectorRegistry
):
    for path in ("/things/a", "/things/b", "/made/up", "/made/up/too"):
        call(gate, "GET", path)

    def count(**labels: str) -> float | None:
        return registry.get_sample_value("onelayer_http_requests_total", {"method": "GET", **labels})

    assert count(route="/things/{thing}", status="200") == 2
    assert count(route="none", status="404") == 2
    assert registry.get_sample_value("onelayer_http_requests_in_progress") == 0


def test_a_method_that_no_route_has_is_counted_as_another(gate: Gate, registry: CollectorRegistry):
    for method in ("PROPFIND", "M-SEARCH", "PUT"):
        assert call(gate, method, "/things/a").status_code == 405
    call(gate, "POST", "/things/a")

    def count(method: str) -> float | None:
        labels = {"method": method, "route": "/things/{thing}", "status": "405"}
        return registry.get_sample_value("onelayer_http_requests_total", labels)

    assert [count(method) for method in ("other", "POST", "PROPFIND", "PUT")] == [3, 1, None, None]


def test_the_time_that_counts_is_that_until_the_reply_begins(
    gate: Gate, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
):
    seconds = 0.0
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: seconds))

    @gate.api.get("/slow")
    async def slow() -> StreamingResponse:
        nonlocal seconds
        seconds += 1

        async def content() -> AsyncIterator[bytes]:
            nonlocal seconds
            seconds += 100
            yield b"ab"

        return StreamingResponse(content())

    assert call(gate, "GET", "/slow").text == "ab"

    labels = {"method": "GET", "route": "/slow"}
    assert registry.get_sample_value("onelayer_http_request_seconds_sum", labels) == 1


def test_each_request_is_a_line_of_the_log_with_its_path_as_it_was_sent(gate: Gate):
    with capture_logs() as logged:
        call(gate, "GET", "/things/a%0Ab%1B[31m")

    (line,) = logged
    assert line["event"] == "request"
    assert line["path"] == "/things/a%0Ab%1B[31m"
    assert (line["method"], line["route"], line["status"]) == ("GET", "/things/{thing}", 200)


def test_what_machines_ask_all_the_time_is_no_line(gate: Gate):
    with capture_logs() as logged:
        call(gate, "GET", "/healthz")

    assert logged == []


def test_a_client_that_leaves_during_its_upload_is_no_fault_of_ours(gate: Gate, registry: CollectorRegistry):
    messages: list[Message] = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}]
    incoming = iter(messages)

    async def receive() -> Message:
        return next(incoming)

    async def send(message: Message) -> None:
        raise AssertionError(f"nobody is there for {message}")

    scope = {"type": "http", "method": "POST", "path": "/upload", "query_string": b"", "headers": []}
    with capture_logs() as logged:
        asyncio.run(gate(scope, receive, send))

    assert [(line["event"], line["log_level"], line["status"]) for line in logged] == [("request", "info", 499)]
    labels = {"method": "POST", "route": "/upload", "status": "499"}
    assert registry.get_sample_value("onelayer_http_requests_total", labels) == 1


def test_a_fault_and_its_request_are_found_by_the_same_id(gate: Gate):
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
        reply = call(gate, "GET", "/fault", headers={"X-Request-ID": "mine"})

    found = problem(reply, 500, "internal-error")
    assert {line["request_id"] for line in logged} == {"mine"}
    assert logged[0]["fault_id"] in found["detail"]
    assert ClientDisconnect.__name__ not in reply.text
