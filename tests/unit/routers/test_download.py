"""Files as replies, and the parts of them that a client asks for."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.problems import ProblemDocuments
from app.routers.download import Download
from tests.unit.asgi import call, problem


@pytest.fixture
def app(tmp_path: Path) -> ProblemDocuments:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    api = FastAPI()
    api.get("/file")(lambda: Download(path.open("rb")))
    return ProblemDocuments(api)


def ranged(app: ProblemDocuments, value: str) -> httpx.Response:
    return call(app, "GET", "/file", headers={"Range": value})


@pytest.mark.parametrize(
    ("value", "content"),
    [("bytes=0-3", b"0123"), ("Bytes=8-", b"89"), ("bytes=-2", b"89"), ("bytes= 4-5", b"45"), ("bytes=9-99", b"9")],
)
def test_a_part_of_a_file_comes_as_one(app: ProblemDocuments, value: str, content: bytes):
    reply = ranged(app, value)

    assert (reply.status_code, reply.content) == (206, content)


def test_several_parts_come_as_several(app: ProblemDocuments):
    reply = ranged(app, "bytes=0-1, 8-9")

    assert reply.status_code == 206
    assert reply.headers["content-type"].startswith("multipart/byteranges")


@pytest.mark.parametrize(
    "value", ["lines=0-1", "bytes=abc", "bytes=", "bytes", "bytes=-", "bytes=5-3", "bytes=0-1;2-3", "bytes=1-2-3", "é"]
)
def test_what_is_no_range_of_bytes_is_passed_over(app: ProblemDocuments, value: str):
    reply = call(app, "GET", "/file", headers=[(b"range", value.encode("latin-1"))])

    assert (reply.status_code, reply.content) == (200, b"0123456789")


@pytest.mark.parametrize("value", ["bytes=10-", "bytes=99999999999999999999999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_a_problem_that_tells_the_length(app: ProblemDocuments, value: str):
    reply = ranged(app, value)

    problem(reply, 416, "range-not-satisfiable")
    assert reply.headers["content-range"] == "bytes */10"
