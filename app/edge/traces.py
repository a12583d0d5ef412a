"""Traces: a span for each request, sent where OTEL_EXPORTER_OTLP_ENDPOINT says. FastAPI makes them by itself."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from fastapi.telemetry import TelemetryConfig

from app import grace

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def tracing(environment: Mapping[str, str] = os.environ) -> TelemetryConfig:
    """What FastAPI is told: nothing is imported, and nothing costs time, unless there is somewhere to send traces to.

    Metrics and logs have ways of their own here.
    """
    wanted = _is_wanted(environment)
    if wanted:
        os.environ.setdefault("OTEL_SERVICE_NAME", "onelayer")
    return {"auto_configure": wanted, "tracing": wanted, "metrics": False, "logs": False}


@contextmanager
def last_spans() -> Iterator[None]:
    """Send what is not sent yet while the block runs, and wait for it no longer than a moment.

    FastAPI would wait for as long as the exporter tries, at the end and again at exit; what is shut down already it
    leaves alone.
    """
    shutdown = _shutdown() if _is_wanted(os.environ) else None
    if shutdown is None:
        yield
        return
    deadline = time.monotonic() + grace.SPANS_SECONDS
    sending = threading.Thread(target=shutdown, name="last spans", daemon=True)
    sending.start()
    yield
    sending.join(max(0.0, deadline - time.monotonic()))


def _shutdown() -> Callable[[], None] | None:
    """How to send what is left; none where FastAPI has found nothing to send with."""
    from opentelemetry import trace

    return getattr(trace.get_tracer_provider(), "shutdown", None)


def _is_wanted(environment: Mapping[str, str]) -> bool:
    return any(environment.get(name) for name in _ENDPOINTS)
