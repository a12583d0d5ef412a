"""The gate: the outermost layer. Each request gets an id, is timed, counted and logged, and gets its headers."""

import re
import time

import structlog
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.types import Message, Receive, Scope, Send

from app.edge.headers import REQUEST_ID, completed
from app.edge.probes import PROBES
from app.identifiers import new_id
from app.metrics.requests import GONE, OTHER, UNMATCHED, RequestMetrics
from app.problems import ProblemDocuments

log = structlog.get_logger("app.requests")

QUIET_ROUTES = PROBES | {"/metrics"}
"""What machines ask every few seconds is counted, and logged only if it fails."""

_SANE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")


class Gate:
    """Lets every request in and every reply out."""

    def __init__(self, app: ProblemDocuments, metrics: RequestMetrics, log_requests: bool) -> None:
        self._app = app
        self._log_requests = log_requests
        self.api: FastAPI = app.api
        self.metrics = metrics
        self._methods = _methods(app.api)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its reply back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())
        began = time.perf_counter()
        status, seconds = GONE, 0.0

        async def leave(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - began
                message["headers"] = completed(message["headers"], request_id)
            await send(message)

        self.metrics.in_progress.inc()
        try:
            await self._app(scope, receive, leave)
        finally:
            self.metrics.in_progress.dec()
            self._note(scope, status, seconds or time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        method = scope["method"]
        self.metrics.count(method if method in self._methods else OTHER, route, status, seconds)
        if self._log_requests and (status >= 400 or route not in QUIET_ROUTES):
            client = scope.get("client")
            # The path as it was sent: what it stands for may hold line ends and escape sequences.
            path = (scope.get("raw_path") or scope["path"].encode("ascii", "backslashreplace")).decode(
                "ascii", "replace"
            )
            log.info(
                "request", method=method, path=path, route=route, status=status,
                seconds=round(seconds, 6), client=client[0] if client else None,
            )  # fmt: skip


def _methods(api: FastAPI) -> frozenset[str]:
    """Those that a route has. Layers answer two more: HEAD as GET, and what browsers ask before they send."""
    routes = (context.original_route for context in iter_route_contexts(api.routes))
    return frozenset({"HEAD", "OPTIONS"}).union(
        *(route.methods or () for route in routes if isinstance(route, APIRoute))
    )


def _request_id(scope: Scope) -> bytes:
    """The client's id for the request if it is a sane one, else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID and _SANE.fullmatch(value):
            given: bytes = value
            return given
    return new_id().encode()
