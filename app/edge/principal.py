"""The principal: who a request is counted for."""

from starlette.types import Scope


def principal(scope: Scope) -> str:
    """Whoever the request says it is from, once that is known; else the client's address."""
    named = scope.get("state", {}).get("principal")
    client = scope.get("client")
    return str(named) if named else (client[0] if client else "")
