"""HEAD."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from app import problems
from app.edge.head import HeadAsGet
from tests.unit.asgi import call, problem


@pytest.fixture
def api() -> FastAPI:
    api = FastAPI(docs_url=None)
    api.add_middleware(HeadAsGet)
    problems.install(api)

    @api.get("/things/{thing}")
    def thing(thing: str) -> str:
        return thing

    @api.post("/things")
    def add() -> None: ...

    @api.get("/stream")
    def stream() -> StreamingResponse:
        async def content() -> AsyncIterator[bytes]:
            while True:
                yield b"a"
                await asyncio.sleep(0.01)

        return StreamingResponse(content(), media_type="text/event-stream")

    return api


def test_head_has_the_headers_of_get_and_no_body(api: FastAPI):
    got, head = (call(api, method, "/things/abc") for method in ("GET", "HEAD"))

    assert got.content == b'"abc"'
    assert head.content == b""
    assert (head.status_code, head.headers) == (got.status_code, got.headers)


def test_head_of_what_is_not_there_has_the_status_of_get(api: FastAPI):
    assert call(api, "HEAD", "/nothing").status_code == 404


def test_head_of_an_endless_stream_ends(api: FastAPI):
    reply = call(api, "HEAD", "/stream")

    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.content == b""


def test_head_goes_where_get_goes(api: FastAPI):
    assert call(api, "HEAD", "/things").status_code == 405
    refused = call(api, "DELETE", "/things/a")
    problem(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == "GET, HEAD"
