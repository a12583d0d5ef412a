"""POST /predict: rows in, predictions out."""

import json
from typing import Any

import orjson
from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.errors import Fault, InvalidRequest, UnsupportedMediaType
from app.models.prediction import predict
from app.problems import faults_of
from app.routers.dependencies import ServicesDep
from app.schemas.predict import PredictReply, PredictRequest
from app.schemas.problem import problems
from app.services import Services

router = APIRouter(tags=["predict"])

# The body is read by hand, because pydantic would take most of the time; the document still shows its schema.
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PredictRequest"}}},
    }
}


@router.post(
    "/predict",
    summary="Predict rows with a trained model",
    response_model=PredictReply,
    responses=problems(404, 413, 415, 422),
    openapi_extra=_BODY,
)
async def predict_rows(request: Request, services: ServicesDep) -> Response:
    """Predict rows, given as lists in feature order or as objects by column name."""
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType("POST /predict reads application/json.")
    body = await request.body()
    return await run_in_threadpool(_answer, body, services)


def _answer(body: bytes, services: Services) -> Response:
    asked = _parse(body)
    loaded = services.predictor.load(asked.model)
    reply = predict(loaded, asked.instances, asked.records, asked.outputs, asked.top_k)
    return Response(orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def _parse(body: bytes) -> PredictRequest:
    asked = _loads(body)
    try:
        return PredictRequest.model_validate(asked)
    except ValidationError as error:
        raise InvalidRequest(faults_of(error.errors(include_url=False), asked)) from error


def _loads(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # NaN and Infinity are no JSON, yet many clients write them: read them, so that the reply can name the place.
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise InvalidRequest(Fault("body", f"this is no JSON: {error}")) from error
