"""The Open Inference Protocol v2, so that its clients (Triton's, KServe's, MLServer's) work unchanged."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app import __version__
from app.errors import Fault, InvalidRequest
from app.identifiers import is_id
from app.models.open_inference import Output, default_outputs, infer, metadata, reply, wish
from app.models.predictor import Loaded
from app.models.tensors import Tail, decoded
from app.problems import PROTOCOL_PATH
from app.routers.dependencies import ModelPath, ServicesDep
from app.routers.json_body import LimitedRoute
from app.routers.predict import SMALL_JSON_BYTES, is_small_array, model, whole_body
from app.routers.rows_body import parsed
from app.schemas.inference_v2 import (
    IndexEntry,
    IndexRequest,
    InferReply,
    InferRequest,
    Live,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
)
from app.schemas.problem import problems as documented
from app.services import Services

LENGTH_HEADER = "Inference-Header-Content-Length"
MOST_LISTED = 10_000
MOST_DIGITS = 20
"""Of a size in bytes."""


router = APIRouter(prefix=PROTOCOL_PATH, tags=["inference v2"], route_class=LimitedRoute)

VersionPath = Annotated[str, Path(description="A version of the name.", examples=["1"], pattern="^[1-9][0-9]{0,8}$")]

_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_BODY = {
    "parameters": [
        {
            "name": LENGTH_HEADER,
            "in": "header",
            "required": False,
            "description": "With tensors as bytes: how many bytes of JSON there are before them.",
            "schema": {"type": "string", "examples": [None]},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}}, **_BYTES},
    },
}
_REPLIES: dict[int | str, dict[str, Any]] = documented(404, 413, 415, 422) | {200: {"content": _BYTES}}


@router.get("", summary="What the server is")
def server_metadata() -> ServerMetadata:
    """The server's name, version and extensions."""
    extensions = ["binary_tensor_data", "classification", "model_repository"]
    return ServerMetadata(name="onelayer", version=__version__, extensions=extensions)


@router.get("/health/live", summary="Is it alive?")
def live() -> Live:
    """200 as long as the process answers."""
    return Live(live=True)


@router.get("/health/ready", summary="Can it predict?")
def ready() -> Ready:
    """200 once models can be asked: from the start, since they are loaded when they are."""
    return Ready(ready=True)


@router.post(
    "/repository/index",
    summary="List models, as the protocol's repository extension does",
    responses=documented(422),
)
def index(
    services: ServicesDep, asked: Annotated[IndexRequest | None, Body(examples=[{"ready": True}])] = None
) -> list[IndexEntry]:
    """Every model with its version, newest first, at most ten thousand."""
    rows = services.registry.page(MOST_LISTED)
    return [
        IndexEntry(name=row.name or row.id, version=str(row.version or 1), state="READY", reason="") for row in rows
    ]


@router.get("/models/{model}", summary="What a model takes and gives", responses=documented(404, 422))
def model_metadata(model: ModelPath, services: ServicesDep) -> ModelMetadata:
    """The tensors of a model."""
    return _metadata(services, model, model)


@router.get(
    "/models/{model}/versions/{version}", summary="What a version takes and gives", responses=documented(404, 422)
)
def version_metadata(model: ModelPath, version: VersionPath, services: ServicesDep) -> ModelMetadata:
    """The tensors of one version of a model."""
    return _metadata(services, model, _reference(model, version))


@router.get("/models/{model}/ready", summary="Can a model be asked?", responses=documented(404, 422))
def model_ready(model: ModelPath, services: ServicesDep) -> ModelReady:
    """200 if the model exists and its weights can be read."""
    services.predictor.load(model)
    return ModelReady(name=model, ready=True)


@router.get(
    "/models/{model}/versions/{version}/ready", summary="Can a version be asked?", responses=documented(404, 422)
)
def version_ready(model: ModelPath, version: VersionPath, services: ServicesDep) -> ModelReady:
    """200 if this version exists and its weights can be read."""
    services.predictor.load(_reference(model, version))
    return ModelReady(name=model, ready=True)


@router.post(
    "/models/{model}/infer",
    summary="Predict from tensors",
    response_model=InferReply,
    responses=_REPLIES,
    openapi_extra=_BODY,
)
async def infer_model(model: ModelPath, request: Request) -> Response:
    """Predictions of a model from tensors, as JSON or as bytes after the JSON."""
    return await _infer(request, model, model)


@router.post(
    "/models/{model}/versions/{version}/infer",
    summary="Predict from tensors with a version",
    response_model=InferReply,
    responses=_REPLIES,
    openapi_extra=_BODY,
)
async def infer_version(model: ModelPath, version: VersionPath, request: Request) -> Response:
    """Predictions of one version of a model."""
    return await _infer(request, model, _reference(model, version))


def _reference(model: str, version: str) -> str:
    """`name:version`; a model without a name is version 1 of its id."""
    return model if version == "1" and is_id(model) else f"{model}:{version}"


def _metadata(services: Services, name: str, reference: str) -> ModelMetadata:
    loaded = services.predictor.load(reference)
    rows = services.registry.versions(loaded.row.name) if loaded.row.name else [loaded.row]
    return ModelMetadata.model_validate(metadata(loaded, name, [str(row.version or 1) for row in rows]))


async def _infer(request: Request, name: str, reference: str) -> Response:
    services: Services = request.app.state.services
    # No media type is asked for: Triton's client sends JSON without one.
    body = await whole_body(request, services)
    size = _json_size(request.headers.get(LENGTH_HEADER), len(body))
    if size > SMALL_JSON_BYTES:
        return await run_in_threadpool(_parse_and_answer, body, size, name, reference, services)
    asked = parsed(body[:size], InferRequest, services.settings.json_depth_limit)
    loaded = await model(reference, services)
    outputs = _outputs(asked, loaded)
    answer = partial(_answer, loaded, asked, outputs, memoryview(body)[size:], name, services)
    # Many rows' classes as texts take longer to write than the rows to predict.
    labelled = any(output.classes is not None for output in outputs)
    small = is_small_array(loaded, len(body), wish(loaded, outputs)) and not labelled
    return answer() if small else await run_in_threadpool(answer)


def _parse_and_answer(body: bytes, size: int, name: str, reference: str, services: Services) -> Response:
    asked = parsed(body[:size], InferRequest, services.settings.json_depth_limit)
    loaded = services.predictor.load(reference)
    return _answer(loaded, asked, _outputs(asked, loaded), memoryview(body)[size:], name, services)


def _answer(
    loaded: Loaded, asked: InferRequest, outputs: list[Output], content: memoryview, name: str, services: Services
) -> Response:
    tail = Tail(content)
    tensors = [decoded(tensor, i, tail) for i, tensor in enumerate(asked.inputs)]
    tail.check_empty()
    answer = infer(loaded, tensors, outputs, services.settings.predict_rows_limit)
    head = {"model_name": name, "model_version": str(loaded.row.version or 1)} | ({"id": asked.id} if asked.id else {})
    document, following = reply(answer, outputs, head)
    if not following:
        return Response(document, media_type="application/json")
    headers = {LENGTH_HEADER: str(len(document))}
    return Response(document + following, media_type="application/octet-stream", headers=headers)


def _outputs(asked: InferRequest, loaded: Loaded) -> list[Output]:
    all_bytes = asked.parameters.get("binary_data_output", False)
    if not isinstance(all_bytes, bool):
        raise InvalidRequest(Fault("parameters.binary_data_output", "use true or false"))
    if asked.outputs is None:
        return [Output(name, all_bytes) for name in default_outputs(loaded)]
    return [
        Output.of(output.name, output.parameters, all_bytes, f"outputs[{position}].parameters")
        for position, output in enumerate(asked.outputs)
    ]


def _json_size(length: str | None, total: int) -> int:
    if length is None:
        return total
    if not length.isdecimal() or len(length) > MOST_DIGITS or int(length) > total:
        message = f"{length[:MOST_DIGITS]!r} is no size of the JSON in a body of {total} bytes"
        raise InvalidRequest(Fault(LENGTH_HEADER, message))
    return int(length)
