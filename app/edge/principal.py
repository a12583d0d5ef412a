"""The principal: who a request is counted for."""

from starlette.types import Scope


def principal(scope: Scope) -> str:
    """The key that the request came with, if it counts; else the client's address."""
    named = getattr(scope.get("viewer"), "key_id", "")
    client = scope.get("client")
    return str(named) if named else (client[0] if client else "")
