"""The guard: what each call needs, on one page, and the route that asks for it before it reads a byte of the body.

A route that is not on this page cannot be made, and an application with a route that is not guarded does not start.
"""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute
from starlette.types import Scope as Connection

from app.access.scope import Scope
from app.access.viewer import Viewer
from app.errors import OnelayerError, ScopeMissing

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

OPEN = None
"""Needs no key: says nothing of what the service holds."""

PREDICT, READ, WRITE = Scope.PREDICT, Scope.READ, Scope.WRITE

NEEDED: dict[str, Scope | None] = {
    "POST /datasets": WRITE,
    "GET /datasets": READ,
    "GET /datasets/{dataset}": READ,
    "PATCH /datasets/{dataset}": WRITE,
    "DELETE /datasets/{dataset}": WRITE,
    "GET /datasets/{dataset}/rows": READ,
    "GET /datasets/{dataset}/data": READ,
    "GET /datasets/{dataset}/plot": READ,
    "POST /jobs": WRITE,
    "GET /jobs": READ,
    "GET /jobs/{job}": READ,
    "DELETE /jobs/{job}": WRITE,
    "POST /jobs/{job}/cancel": WRITE,
    "POST /jobs/{job}/replay": WRITE,
    "GET /jobs/{job}/history": READ,
    "GET /jobs/{job}/plot": READ,
    "GET /jobs/{job}/events": READ,
    "GET /jobs/{job}/predictions": READ,
    "GET /models": PREDICT,
    "POST /models": WRITE,
    "GET /models/{model}": PREDICT,
    "PATCH /models/{model}": WRITE,
    "DELETE /models/{model}": WRITE,
    "GET /models/{model}/coefficients": READ,
    "GET /models/{model}/export": READ,
    "GET /models/{model}/plot": READ,
    "POST /models/{model}/evaluate": READ,
    "POST /models/{model}/predictions": WRITE,
    "PUT /models/{name}/aliases/{alias}": WRITE,
    "DELETE /models/{name}/aliases/{alias}": WRITE,
    "POST /predict": PREDICT,
    "GET /v2": OPEN,
    "GET /v2/health/live": OPEN,
    "GET /v2/health/ready": OPEN,
    "POST /v2/repository/index": PREDICT,
    "GET /v2/models/{model}": PREDICT,
    "GET /v2/models/{model}/versions/{version}": PREDICT,
    "GET /v2/models/{model}/ready": PREDICT,
    "GET /v2/models/{model}/versions/{version}/ready": PREDICT,
    "POST /v2/models/{model}/infer": PREDICT,
    "POST /v2/models/{model}/versions/{version}/infer": PREDICT,
    "GET /healthz": OPEN,
    "GET /readyz": OPEN,
    "GET /metrics": READ,
    "GET /": OPEN,
    "GET /docs": OPEN,
    "GET /docs/start.js": OPEN,
    "GET /docs/swagger-ui-bundle.js": OPEN,
    "GET /docs/swagger-ui.css": OPEN,
    "GET /docs/favicon-32x32.png": OPEN,
}


class GuardedRoute(APIRoute):
    """A route that lets only those in whose key has the scope that this page asks for."""

    @property
    def needed(self) -> Scope | None:
        """What the calls of this route need."""
        (scope,) = {NEEDED[f"{method} {self.path}"] for method in self.methods or ()}
        return scope

    def admitted(self) -> Handler:
        """The handler of a request that was let in."""
        return super().get_route_handler()

    def get_route_handler(self) -> Handler:
        """The handler, behind the question whether it may be called."""
        handle, needed = self.admitted(), self.needed
        if needed is None:
            return handle

        async def admit_and_handle(request: Request) -> Response:
            admit(request.scope, needed)
            return await handle(request)

        return admit_and_handle


def admit(connection: Connection, needed: Scope) -> None:
    """Refuse a request without a key that counts, or whose key is of a lesser scope."""
    # No default: if the layer that checks keys is missing, nobody comes in.
    viewer = connection["viewer"]
    if isinstance(viewer, OnelayerError):
        raise viewer
    scope = cast("Viewer", viewer).scope
    if scope is None or not scope.contains(needed):
        raise ScopeMissing(needed, scope or "none")


def check(routes: Iterable[BaseRoute]) -> None:
    """Refuse to start with a route that asks nobody."""
    for context in iter_route_contexts(list(routes)):
        route = context.original_route
        if isinstance(route, APIRoute) and not isinstance(route, GuardedRoute):
            raise TypeError(f"the route {route.path} is not guarded: make its router with route_class=GuardedRoute")
