"""POST /predict: rows in, predictions out.

Bodies are read by hand, because the framework would take most of the time. What is small is answered on the event loop,
where a switch to a thread would cost more than the work; everything else in a thread. What a name means after a change
of the database is looked up in a thread, yet nothing is computed there on that account: many threads that compute at
once hold up the event loop for far longer than they save.
"""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.datasets.readers.csv_dialect import CsvOptions
from app.errors import Fault, InvalidRequest, UnsupportedMediaType
from app.models import booleans
from app.models.bodies import CSV, NPY, READERS, answer_body, answer_records, answer_rows
from app.models.prediction import PLAIN, Answer, Wish, check_level
from app.models.predictor import Loaded
from app.models.replies import JSON, WRITERS
from app.problems import faults_of
from app.routers.charset import encoding_said
from app.routers.dependencies import check_single
from app.routers.guard import GuardedRoute
from app.routers.negotiation import VARIES, preferred
from app.routers.rows_body import parsed
from app.routers.unpacking import unpacked
from app.schemas.predict import BodyOptions, PredictOptions, PredictReply, PredictRequest
from app.schemas.problem import problems
from app.services import Services

router = APIRouter(tags=["predict"], route_class=GuardedRoute)

SMALL_JSON_BYTES = 64 * 1024
SMALL_ARRAY_BYTES = 1024 * 1024
SMALL_WORK = 2_000_000
"""JSON costs its reading, an array its product, a wide answer its writing: each of these takes about a millisecond."""

_OFFERS = tuple(WRITERS)
_TYPES = (JSON, *READERS)
_JSON = JSON.encode()
_BODIES = {
    JSON: {"schema": {"$ref": "#/components/schemas/PredictRequest"}},
    CSV: {"schema": {"type": "string"}, "example": "x1,x2\n1,2\n0.5,-0.5\n"},
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PARAMETERS = [
    {"name": name, "in": "query", "required": False, "schema": schema, "examples": [None],
     "description": f"With a body that is no JSON: {BodyOptions.model_fields[name].description}"}
    for name, schema in (
        ("model", {"type": "string"}),
        ("outputs", {"type": "array", "items": {"type": "string"}}),
        ("top_k", {"type": "integer"}),
        ("interval_level", {"type": "number"}),
        ("encoding", {"type": "string"}),
        ("decimal", {"enum": [".", ","]}),
    )
]  # fmt: skip
_BODY = {
    "parameters": _PARAMETERS,
    "requestBody": {"required": True, "content": {name: _BODIES.get(name, _BINARY) for name in _TYPES}},
}
_REPLIES: dict[int | str, dict[str, Any]] = {200: {"content": dict.fromkeys(READERS, _BINARY)}}


@router.post(
    "/predict",
    summary="Predict rows with a trained model",
    response_model=PredictReply,
    responses=problems(400, 404, 406, 413, 415, 422) | _REPLIES,
    openapi_extra=_BODY,
)
async def predict_rows(request: Request) -> Response:
    """Predict rows: JSON (lists in feature order, or objects by column name), CSV, an Arrow stream or NPY."""
    services: Services = request.app.state.services
    headers = dict(request.scope["headers"])
    given = headers.get(b"content-type", _JSON).decode("latin-1")
    media_type = given if given == JSON else given.partition(";")[0].strip().lower()
    accepted = preferred(request, _OFFERS)
    body = await whole_body(request, services)
    if media_type == JSON or media_type.endswith("+json"):
        if request.scope["query_string"]:
            raise InvalidRequest(Fault("query", "with a JSON body the options stand in the body, not in the address"))
        if len(body) > SMALL_JSON_BYTES:
            return await run_in_threadpool(_parse_and_answer, body, accepted, services)
        asked = _parse(body, services)
        loaded = await model(asked.model, services)
        small = _wish(asked).work(loaded, len(asked.instances or asked.records or ())) <= SMALL_WORK
        return await _here_if(small, _answer_json, loaded, asked, body, accepted, services)
    if media_type not in READERS:
        raise UnsupportedMediaType(f"POST /predict reads {', '.join(_TYPES)}; Content-Type says {given[:100]!r}.")
    options = _options(request, media_type)
    loaded = await model(options.model, services)
    small = media_type == NPY and is_small_array(loaded, len(body), _wish(options))
    return await _here_if(small, _answer_body, loaded, options, media_type, body, accepted, services)


async def whole_body(request: Request, services: Services) -> bytes:
    """The body, unpacked, by the shortest way: the request's own takes as long as a small prediction."""
    chunks: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    for name, value in request.scope["headers"]:
        if name == b"content-encoding":
            return await run_in_threadpool(unpacked, body, value.decode("latin-1"), services.settings.body_limit_bytes)
    return body


async def model(reference: str, services: Services) -> Loaded:
    """The model that a reference means."""
    found = services.predictor.cached(reference)
    return found if found is not None else await run_in_threadpool(services.predictor.load, reference)


def is_small_array(loaded: Loaded, size: int, wish: Wish) -> bool:
    """Whether an array of so many bytes is answered sooner than a thread could be started."""
    if loaded.plain_width is None:  # its values are looked at one by one
        return size <= SMALL_JSON_BYTES
    return size <= SMALL_ARRAY_BYTES and wish.work(loaded, size // loaded.plain_width) <= SMALL_WORK


async def _here_if(small: bool, answer: Callable[..., Response], *given: Any) -> Response:
    return answer(*given) if small else await run_in_threadpool(answer, *given)


def _parse_and_answer(body: bytes, accepted: str, services: Services) -> Response:
    asked = _parse(body, services)
    return _answer_json(services.predictor.load(asked.model), asked, body, accepted, services)


def _answer_json(loaded: Loaded, asked: PredictRequest, body: bytes, accepted: str, services: Services) -> Response:
    wish, most = _wish(asked), _most_rows(services)
    if asked.instances is not None:
        return _reply(answer_rows(loaded, asked.instances, wish, most, booleans.may_be_in(body)), accepted)
    return _reply(answer_records(loaded, asked.records or [], wish, most), accepted)


def _answer_body(
    loaded: Loaded, options: BodyOptions, media_type: str, body: bytes, accepted: str, services: Services
) -> Response:
    dialect = CsvOptions(encoding=options.encoding, decimal=options.decimal)
    return _reply(answer_body(loaded, media_type, body, _wish(options), _most_rows(services), dialect), accepted)


def _most_rows(services: Services) -> int:
    return services.settings.predict_rows_limit


def _wish(asked: PredictOptions) -> Wish:
    check_level(asked.outputs, "interval_level" in asked.model_fields_set)
    if not asked.outputs and asked.top_k is None:
        return PLAIN
    return Wish(frozenset(asked.outputs), asked.top_k, asked.interval_level)


def _reply(answer: Answer, accepted: str) -> Response:
    return Response(WRITERS[accepted](answer), media_type=accepted, headers=VARIES)


def _options(request: Request, media_type: str) -> BodyOptions:
    query = request.query_params
    check_single(query, BodyOptions.model_fields.keys() - {"outputs"})
    given: dict[str, Any] = dict(query)
    if "outputs" in query:
        given["outputs"] = [name for value in query.getlist("outputs") for name in value.split(",")]
    try:
        options = BodyOptions.model_validate(given)
    except ValidationError as error:
        raise InvalidRequest(faults_of(error.errors(include_url=False), given, BodyOptions)) from error
    if media_type != CSV and (foreign := options.model_fields_set & {"encoding", "decimal"}):
        raise InvalidRequest([Fault(name, "this option applies to CSV alone") for name in sorted(foreign)])
    if media_type == CSV:
        said = encoding_said(request.headers.get("content-type", ""), options.encoding)
        return options.model_copy(update={"encoding": said})
    return options


def _parse(body: bytes, services: Services) -> PredictRequest:
    asked = parsed(body, PredictRequest, services.settings.json_depth_limit)
    # Not by a validator of the schema, which would call back into Python for each request.
    if (asked.instances is None) == (asked.records is None):
        raise InvalidRequest(Fault("body", "give either instances or records"))
    return asked
