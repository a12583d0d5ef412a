"""Traces: a span for each request, sent where OTEL_EXPORTER_OTLP_ENDPOINT says. FastAPI makes them by itself."""

import os
from collections.abc import Mapping

from fastapi.telemetry import TelemetryConfig

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def tracing(environment: Mapping[str, str] = os.environ) -> TelemetryConfig:
    """What FastAPI is told: nothing is imported, and nothing costs time, unless there is somewhere to send traces to.

    Metrics and logs have ways of their own here.
    """
    wanted = any(environment.get(name) for name in _ENDPOINTS)
    if wanted:
        os.environ.setdefault("OTEL_SERVICE_NAME", "onelayer")
    return {"auto_configure": wanted, "tracing": wanted, "metrics": False, "logs": False}
