"""The principal: who a request is counted for."""

from starlette.types import Scope

from app.access.viewer import Viewer


def principal(scope: Scope) -> str:
    """The key of a request that has one; else the client's address."""
    viewer = scope.get("viewer")
    if isinstance(viewer, Viewer) and viewer.key_id:
        return viewer.key_id
    client = scope.get("client")
    return client[0] if client else ""
