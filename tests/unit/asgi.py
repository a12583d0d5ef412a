"""Calls to an application in this very process, and what every error reply has to be."""

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp


def call(app: ASGIApp, method: str, path: str, **options: Any) -> httpx.Response:
    """The reply to one request."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", trust_env=False) as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


def problem(reply: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The document of a reply, which is a problem with this status and code and says nothing it should not."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = reply.json()
    assert found["type"] == f"urn:onelayer:problem:{code}"
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    assert ("errors" in found) == (status == 422)
    assert set(found) <= {"type", "title", "status", "detail", "errors"}
    assert "swordfish" not in reply.text
    return found
