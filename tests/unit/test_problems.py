"""Problem documents: how every error reaches a client."""

import asyncio
import inspect
import sqlite3
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from app import errors, problems
from app.errors import Fault, OnelayerError
from app.problems import ProblemDocuments
from tests.unit.asgi import call, problem

FAULT = Fault("row 17, column age", "'x' is not a number")
SECRET = "password=swordfish at /srv/onelayer.db"
LIMIT = 2**20

ERRORS: list[OnelayerError] = [
    errors.BadRequest("d"),
    errors.PageNotFound("d"),
    errors.Unauthorized("d", is_wrong=True),
    errors.ScopeMissing("write", "read"),
    errors.NotOwner("houses"),
    errors.NoOwner("houses"),
    errors.DatasetNotFound("houses"),
    errors.JobNotFound("j"),
    errors.ModelNotFound("fashion"),
    errors.MethodNotAllowed("d"),
    errors.NotAcceptable("d"),
    errors.NameTaken("houses"),
    errors.ModelNameTaken("fashion"),
    errors.SeveralVersions("fashion", [2, 1]),
    errors.DatasetInUse("houses"),
    errors.JobStillRunning("j"),
    errors.JobOver("j", "failed"),
    errors.TooLarge("d"),
    errors.UnsupportedMediaType("d"),
    errors.RangeNotSatisfiable("d"),
    errors.InvalidRequest(FAULT),
    errors.InvalidData(FAULT),
    errors.InvalidSpec([FAULT, FAULT]),
    errors.InvalidInstances(FAULT),
    errors.QueueFull(10, 2),
    errors.AliasNotFound("n", "a"),
    errors.ResultNotFound("d"),
    errors.InvalidModel(FAULT),
    errors.Unsupported(FAULT),
    errors.JobNotReplayable("d"),
    errors.IdempotencyConflict(),
    errors.RequestInProgress(2),
    errors.TooManyRequests(5, 1),
    errors.TooManyAtOnce(8, "uploads", 1),
    errors.RequestTimeout("body", 10),
    errors.HeadTooLarge(10),
    errors.Overloaded(10, 5),
    errors.DatabaseBusy(5),
    errors.TookTooLong(10),
    errors.Unimplemented("d"),
    errors.VersionNotSupported("2.0"),
    errors.StorageFull("d"),
    errors.DamagedFiles("models/m"),
    errors.InternalError("d"),
]

EXPECTED = {
    "unauthorized": 401, "scope-missing": 403, "not-owner": 403, "no-owner": 403,
    "model-name-taken": 409, "several-versions": 409,
    "bad-request": 400, "not-found": 404, "dataset-not-found": 404, "job-not-found": 404,
    "model-not-found": 404, "method-not-allowed": 405, "not-acceptable": 406, "name-taken": 409,
    "dataset-in-use": 409, "job-running": 409, "job-over": 409, "too-large": 413,
    "unsupported-media-type": 415, "range-not-satisfiable": 416,
    "invalid-request": 422, "invalid-data": 422, "invalid-job": 422, "invalid-instances": 422,
    "queue-full": 429, "alias-not-found": 404,
    "result-not-found": 404, "invalid-model": 422, "unsupported": 422,
    "job-not-replayable": 409, "idempotency-conflict": 409, "request-in-progress": 409,
    "internal-error": 500, "damaged-files": 500, "storage-full": 507,
    "too-many-requests": 429, "too-many-at-once": 429, "request-timeout": 408, "head-too-large": 431,
    "not-implemented": 501, "version-not-supported": 505, "overloaded": 503, "database-busy": 503, "took-too-long": 503,
}  # fmt: skip


def routes(api: FastAPI) -> None:
    @api.get("/errors/{number}")
    def fail(number: int) -> None:
        raise ERRORS[number]

    @api.get("/fault")
    def fault() -> None:
        raise RuntimeError(SECRET)

    @api.get("/database/{code}")
    def database(code: int) -> None:
        error = sqlite3.OperationalError(SECRET)
        error.sqlite_errorcode = code
        raise OperationalError(SECRET, {}, error)

    @api.get("/foreign/{status}")
    def foreign(status: int) -> None:
        raise HTTPException(status, SECRET)

    @api.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @api.get("/broken-stream")
    def broken_stream() -> StreamingResponse:
        async def content() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError(SECRET)

        return StreamingResponse(content())


@pytest.fixture(scope="module")
def app() -> ProblemDocuments:
    api = FastAPI(max_body_size=LIMIT, docs_url=None)
    routes(api)
    problems.install(api)
    return ProblemDocuments(api)


def test_the_errors_tried_here_are_all_there_are():
    kinds = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, OnelayerError)}
    leaves = {kind for kind in kinds if not kind.__subclasses__()}

    assert {type(error) for error in ERRORS} == leaves
    assert {error.code: error.status for error in ERRORS} == EXPECTED


@pytest.mark.parametrize("number", range(len(ERRORS)), ids=[type(error).__name__ for error in ERRORS])
def test_every_error_is_a_problem_document(app: ProblemDocuments, number: int):
    error = ERRORS[number]

    reply = call(app, "GET", f"/errors/{number}")

    found = problem(reply, error.status, error.code)
    assert found["title"] == error.title
    assert found["detail"] == error.detail
    assert {name: reply.headers[name] for name in error.headers} == error.headers
    assert found.get("errors", []) == [vars(fault) for fault in error.faults]


def test_a_fault_of_ours_tells_the_client_nothing_but_where_to_look(app: ProblemDocuments):
    with capture_logs() as logged:
        reply = call(app, "GET", "/fault")

    found = problem(reply, 500, "internal-error")
    (line,) = logged
    assert line["fault_id"] in found["detail"]
    assert str(line["exc_info"]) == SECRET
    assert "RuntimeError" not in reply.text


def test_a_database_that_others_hold_is_no_fault_of_ours_and_the_client_may_come_again(app: ProblemDocuments):
    with capture_logs() as logged:
        busy = call(app, "GET", f"/database/{sqlite3.SQLITE_BUSY}")
        broken = call(app, "GET", f"/database/{sqlite3.SQLITE_CORRUPT}")

    problem(busy, 503, "database-busy")
    assert int(busy.headers["retry-after"]) > 0
    problem(broken, 500, "internal-error")
    assert SECRET not in busy.text + broken.text
    assert [line["log_level"] for line in logged] == ["warning", "error"]


def test_a_reply_that_breaks_off_is_logged_and_does_not_look_complete(app: ProblemDocuments):
    sent: list[Message] = []

    async def receive() -> Message:
        return await asyncio.Future()  # the client sends nothing, and stays

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/broken-stream", "query_string": b"", "headers": []}
    with capture_logs() as logged:
        asyncio.run(app(scope, receive, send))

    assert [message.get("body") for message in sent] == [None, b"half"]
    assert sent[-1]["more_body"]
    assert [str(line["exc_info"]) for line in logged] == [SECRET]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_path_that_no_route_has_is_a_problem(app: ProblemDocuments, method: str):
    problem(call(app, method, "/nowhere"), 404, "not-found")


def test_a_method_that_a_path_lacks_is_a_problem_and_the_others_are_named(app: ProblemDocuments):
    reply = call(app, "DELETE", "/fault")

    problem(reply, 405, "method-not-allowed")
    assert "GET" in reply.headers["allow"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "bad-request"),
        (404, "not-found"),
        (405, "method-not-allowed"),
        (406, "not-acceptable"),
        (413, "too-large"),
        (415, "unsupported-media-type"),
        (416, "range-not-satisfiable"),
    ],
)
def test_an_error_of_the_framework_is_a_problem_without_its_text(app: ProblemDocuments, status: int, code: str):
    problem(call(app, "GET", f"/foreign/{status}"), status, code)


def test_a_body_that_says_it_is_too_large_is_a_problem(app: ProblemDocuments):
    found = problem(call(app, "POST", "/raw", content=b"x" * (LIMIT + 1)), 413, "too-large")
    assert found["detail"] == "The body of a request to this path may have 1 MiB."
    assert call(app, "POST", "/raw", content=b"x" * LIMIT).json() == LIMIT


def test_a_body_that_turns_out_too_large_is_a_problem(app: ProblemDocuments):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * (LIMIT // 2)

    assert "1 MiB" in problem(call(app, "POST", "/raw", content=chunks()), 413, "too-large")["detail"]


def test_text_that_is_no_text_does_not_break_the_reply():
    reply = problems.response(errors.DatasetNotFound("\ud800"))

    assert reply.status_code == 404
    assert b"No dataset" in bytes(reply.body)


def test_a_reply_of_another_hand_is_replaced_whole_but_keeps_what_it_allows():
    kept = {"allow": "GET, HEAD", "access-control-allow-origin": "https://a.example", "vary": "Origin"}

    async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/plain"), *((n.encode(), v.encode()) for n, v in kept.items())]
        await send({"type": "http.response.start", "status": 405, "headers": headers})
        await send({"type": "http.response.body", "body": SECRET.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": SECRET.encode()})

    reply = call(ProblemDocuments(foreign), "POST", "/")  # type: ignore[arg-type]

    problem(reply, 405, "method-not-allowed")
    assert {name: reply.headers[name] for name in kept} == kept


@pytest.mark.parametrize(
    ("method", "path", "has_error"),
    [("GET", "/v2/models/x", True), ("HEAD", "/v2/models/x", False), ("GET", "/v2", True), ("GET", "/v20/x", False)],
)
def test_below_the_path_of_the_protocol_a_problem_has_what_its_clients_look_for(
    method: str, path: str, has_error: bool
):
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        reply = problems.response(errors.TooManyRequests(5, 1))
        reply.body = b"" if scope["method"] == "HEAD" else reply.body
        await reply(scope, receive, send)

    reply = call(ProblemDocuments(refuse), method, path)  # type: ignore[arg-type]

    assert reply.status_code == 429
    assert reply.headers["retry-after"] == "1"
    assert (b'"error": "One key may send' in reply.content) == has_error
    if method == "GET":
        assert int(reply.headers["content-length"]) == len(reply.content)
