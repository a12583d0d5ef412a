"""Problem documents (RFC 9457): how every error reaches a client, and nothing but the error.

Errors of our own tree are rendered by one handler; what the framework refuses before any handler runs (an unknown
route, a body over the limit) is rewritten by the outermost layer.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from app import errors
from app.database import is_passing
from app.errors import Fault, OnelayerError
from app.identifiers import NAME_PATTERN, NAME_RULE, new_id
from app.settings import MEBIBYTE
from app.suggestion import field_like

MOST_FAULTS = 100
"""A reply names so many; a request with more is not mended one by one."""

RETRY_SECONDS = 5
"""When a client whose request the database did not take in time may try again."""

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:onelayer:problem:"
PROTOCOL_PATH = "/v2"
"""Where the Open Inference Protocol is spoken."""

log = structlog.get_logger(__name__)

_BY_STATUS: dict[int, tuple[type[OnelayerError], str]] = {
    400: (errors.BadRequest, "The request cannot be read; see /docs for what this path takes."),
    404: (errors.PageNotFound, "No route has this path; see /docs for those there are."),
    405: (errors.MethodNotAllowed, "The path exists, but not with this method; see the Allow header."),
    406: (errors.NotAcceptable, "No representation that the Accept header asks for exists."),
    413: (errors.TooLarge, "The body is larger than this path takes."),
    415: (
        errors.UnsupportedMediaType,
        "This path does not read that media type; see /docs for those it reads.",
    ),
    416: (
        errors.RangeNotSatisfiable,
        "The file ends before the range that is asked for; the Content-Range header says how long it is.",
    ),
}

_KEPT = (b"allow", b"content-range", b"vary", b"access-control-")
"""How the headers begin that an error keeps when its text is replaced."""


def document(error: OnelayerError) -> dict[str, Any]:
    """The JSON of an error."""
    faults = [{"location": fault.location, "message": fault.message} for fault in error.faults[:MOST_FAULTS]]
    return {
        "type": TYPE_PREFIX + error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        **({"errors": faults} if error.status == 422 else {}),
    }


def response(error: OnelayerError) -> Response:
    """The reply for an error."""
    return Response(
        _written(document(error)),
        status_code=error.status, media_type=MEDIA_TYPE, headers=error.headers,
    )  # fmt: skip


def _written(found: dict[str, Any]) -> bytes:
    return json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")


def install(app: FastAPI) -> None:
    """Teach the framework to answer with problem documents."""
    app.add_exception_handler(OnelayerError, _on_own)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_gone)  # type: ignore[arg-type]  # None is no reply
    app.add_exception_handler(SQLAlchemyError, _on_database)
    app.add_exception_handler(Exception, _on_fault)


async def _on_own(request: Request, error: Exception) -> Response:
    assert isinstance(error, OnelayerError)
    if isinstance(error, errors.DamagedFiles):
        log.error("files are missing or damaged", path=request.url.path, exc_info=error)
    return response(error)


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    body = getattr(request.scope.get("route"), "body_field", None)
    kind = None if body is None else body.field_info.annotation
    return response(errors.InvalidRequest(faults_of(error.errors(), error.body, kind, placed=True)))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 404 and (meant := _without_slash(request)) is not None:
        return response(
            errors.PageNotFound(f"No route has this path, but one has {meant!r}, without the slash at its end.")
        )
    if "Allow" in headers:
        allowed = _methods(request) | set(headers["Allow"].split(", "))
        headers["Allow"] = ", ".join(sorted(allowed | {"HEAD"} if "GET" in allowed else allowed))
    return response(_of_status(error.status_code, request.scope, headers))


def _without_slash(request: Request) -> str | None:
    """The path without the slashes at its end, if that is one of a route."""
    path = request.scope["path"].rstrip("/")
    if path == request.scope["path"]:
        return None
    scope = {**request.scope, "path": path}
    is_known = any(route.matches(scope)[0] is not Match.NONE for route in request.app.routes)
    return path if is_known else None


def _methods(request: Request) -> set[str]:
    """Every method of the path. The framework names those of the first route with this path alone."""
    path = getattr(request.scope.get("route"), "path", None)
    return {method.upper() for method in request.app.openapi()["paths"].get(path, {})}


async def _on_gone(request: Request, error: Exception) -> None:
    """The client left before its request was whole: nobody is there for a reply, and nothing is wrong here."""


async def _on_database(request: Request, error: Exception) -> Response:
    if not is_passing(error):
        return await _on_fault(request, error)
    return response(_busy(request.url.path, error))


@contextmanager
def naming_a_busy_database(path: str) -> Iterator[None]:
    """For what asks the database before any handler does: fail as the request of a handler would."""
    try:
        yield
    except SQLAlchemyError as error:
        if not is_passing(error):
            raise
        raise _busy(path, error) from error


def _busy(path: str, error: Exception) -> errors.DatabaseBusy:
    log.warning("the database is busy", path=path, reason=str(getattr(error, "orig", error)))
    return errors.DatabaseBusy(RETRY_SECONDS)


async def _on_fault(request: Request, error: Exception) -> Response:
    fault_id = new_id()
    log.error("a request failed", fault_id=fault_id, method=request.method, path=request.url.path, exc_info=error)
    return response(errors.InternalError(f"A fault of the server; its log holds more under {fault_id}."))


def faults_of(
    found: Iterable[Any], body: Any = None, kind: type[BaseModel] | None = None, placed: bool = False
) -> Sequence[Fault]:
    """The faults that a pydantic validation found in a body of this kind, one for each field of the request.

    The framework puts before each location the place of the request where it lies (`placed`).
    """
    messages: dict[str, list[str]] = {}
    for fault in found:
        way = fault["loc"][1:] if placed else fault["loc"]
        messages.setdefault(_location(fault, body, placed), []).append(_message(fault, way, kind))
    return [Fault(location, ", or ".join(dict.fromkeys(said))) for location, said in messages.items()]


def _location(fault: Any, body: Any, placed: bool) -> str:
    parts = list(fault["loc"])
    if placed:
        place = parts.pop(0)
        if place != "body":
            # Below a parameter there are only the keys of one whose value is JSON.
            return ".".join(part for part in parts if isinstance(part, str))
        if fault["type"] == "json_invalid":
            return "body"
    # Where fields contradict each other, the error itself may say which of them is to be changed.
    named = getattr(fault.get("ctx", {}).get("error"), "option", None)
    text = ""
    for part in _without_tags(parts, body, fault["type"] == "missing"):
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return ".".join(part for part in (text, named) if part) or "body"


def _without_tags(parts: Sequence[str | int], body: Any, missing: bool) -> Iterator[str | int]:
    """The way into the body as the client wrote it: pydantic also names the branches of unions on the way."""
    for position, part in enumerate(parts):
        if (isinstance(body, dict) and part in body) or (isinstance(body, list) and isinstance(part, int)):
            body = body[part]  # type: ignore[index]  # a str only where it is a dict
            yield part
        elif missing and position == len(parts) - 1:
            yield part


def _message(fault: Any, way: Sequence[str | int], kind: type[BaseModel] | None) -> str:
    if fault["type"] == "extra_forbidden":
        meant = None if kind is None else field_like(way, kind)
        return f"no such field; {f'did you mean {meant}? See' if meant else 'see'} /docs for the fields there are"
    if fault["type"] in ("model_attributes_type", "model_type", "dict_type"):
        return "a JSON object is needed" + ("; see /docs for its fields" if way else ", sent as application/json")
    if fault["type"] == "json_invalid" and isinstance(fault["loc"][-1], int):
        return f"this is no JSON: {fault['ctx']['error']} at character {fault['loc'][-1]}"
    if fault["type"] == "string_pattern_mismatch" and fault["ctx"]["pattern"] == NAME_PATTERN:
        return NAME_RULE
    if fault["type"] == "union_tag_not_found":
        return f"it has to say which one it is, by {fault['ctx']['discriminator']}; see /docs for those there are"
    if fault["type"] == "union_tag_invalid":
        return f"there is no {fault['ctx']['tag']!r}; use one of {fault['ctx']['expected_tags']}"
    if fault["type"] == "missing":
        return "this field is required"
    return str(fault["msg"]).removeprefix("Value error, ")


def _of_status(status: int, scope: Scope, headers: dict[str, str]) -> OnelayerError:
    kind, detail = _BY_STATUS.get(status, (errors.BadRequest, "The request cannot be processed."))
    if status == 413 and (limit := scope.get(MAX_BODY_SIZE_SCOPE_KEY)):
        detail = f"The body of a request to this path may have {limit / MEBIBYTE:g} MiB."
    return kind(detail, headers=headers)


class ProblemDocuments:
    """The outermost layer: replaces an error that is no problem document by the one of its status.

    Clients of the Open Inference Protocol look for `error` in a failed reply: below its path every problem document has
    it as a further member.
    """

    def __init__(self, api: FastAPI) -> None:
        self.api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything through but foreign errors."""
        if scope["type"] != "http":
            await self.api(scope, receive, send)
            return
        if f"{scope['path']}/".startswith(f"{PROTOCOL_PATH}/"):
            send = _with_error(send)
        started = replaced = False

        async def inspect(message: Message) -> None:
            nonlocal started, replaced
            started = True
            if message["type"] == "http.response.start" and _is_foreign(message):
                replaced = True
                await response(_of_status(message["status"], scope, _kept(message)))(scope, receive, send)
            elif not replaced:
                await send(message)

        try:
            await self.api(scope, receive, inspect)
        except Exception:  # the handler of faults has logged it, and has replied if it could
            if not started:
                raise


def _with_error(send: Send) -> Send:
    """Send replies on, problem documents with what the protocol's clients look for. They come in one piece."""
    start: Message | None = None

    async def complete(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start" and _is_problem(message):
            start = message
        elif start is not None and message["type"] == "http.response.body":
            body, begun, start = message.get("body", b""), start, None
            if body:
                found = json.loads(body)
                body = _written(found | {"error": found["detail"]})
            await send({**begun, "headers": _of_length(begun["headers"], len(body))})
            await send({**message, "body": body})
        else:
            await send(message)

    return complete


def _of_length(headers: Iterable[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    """Headers with this length; with none in a reply to HEAD, whose body is not there to be measured."""
    others = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*others, (b"content-length", str(length).encode())] if length else others


def _is_foreign(message: Message) -> bool:
    return message["status"] in _BY_STATUS and not _is_problem(message)


def _is_problem(message: Message) -> bool:
    kinds = [value for name, value in message.get("headers", ()) if name.lower() == b"content-type"]
    return any(kind.startswith(MEDIA_TYPE.encode()) for kind in kinds)


def _kept(message: Message) -> dict[str, str]:
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in message["headers"]
        if name.lower().startswith(_KEPT)
    }
