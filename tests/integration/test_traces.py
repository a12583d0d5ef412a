"""Traces: a request is a span at the collector that the environment names, and part of the trace that it belongs to."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.edge.traces import tracing
from tests.patience import until
from tests.running_server import RunningServer

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A collector's address, and what it was sent."""
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_request_is_a_span_in_the_trace_of_its_client(
    collector: tuple[str, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, bodies = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    with RunningServer(tmp_path / "data", workers=0, ready="/healthz") as server:
        server.client.get("/datasets/nothing", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        found = until(lambda: spans(bodies, TRACE))

    (span,) = found
    attributes = {item.key: item.value.string_value or item.value.int_value for item in span.attributes}
    assert span.name == "GET /datasets/{dataset}"
    assert span.parent_span_id.hex() == PARENT
    assert attributes["http.response.status_code"] == 404


@pytest.fixture
def silent_collector() -> Iterator[str]:
    """The address of a collector that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_collector_that_does_not_answer_does_not_hold_up_the_stop(
    silent_collector: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", silent_collector)
    # So that the exporter itself would wait for longer than the test does.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
    with RunningServer(tmp_path / "data", workers=0, ready="/healthz") as server:
        for _ in range(30):
            server.client.get("/datasets")
        assert server.stop(seconds=15) == 0


def spans(bodies: list[bytes], trace: str) -> list[object]:
    requests = [ExportTraceServiceRequest.FromString(body) for body in list(bodies)]
    services = {
        item.value.string_value
        for request in requests
        for resource in request.resource_spans
        for item in resource.resource.attributes
        if item.key == "service.name"
    }
    assert services <= {"onelayer"}
    every = [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    return [span for span in every if span.trace_id.hex() == trace and span.kind == 2]


def test_the_last_spans_are_sent_when_the_server_stops(
    collector: tuple[str, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, bodies = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    with RunningServer(tmp_path / "data", workers=0, ready="/healthz") as server:
        server.client.get("/datasets", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})

    assert len(spans(bodies, TRACE)) == 1


def test_without_an_endpoint_nothing_is_traced() -> None:
    assert not any(tracing({}).values())
