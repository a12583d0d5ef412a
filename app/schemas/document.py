"""The OpenAPI document: what FastAPI derives, and the few bodies that are read or written by hand."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from app.schemas.dataset import DatasetRequest
from app.schemas.inference_v2 import InferRequest
from app.schemas.predict import PredictRequest
from app.schemas.problem import Problem, problems
from app.schemas.reply_headers import describe_headers

_DESCRIPTION = """Trains and serves single-layer models: linear regression and softmax regression.

upload → **dataset** → **job** → worker → **loss history** → **model** → **predict**

Errors are problem documents (RFC 9457). Wherever an id of a dataset or a model is taken, its name is too."""

_TAGS = [
    {"name": "datasets", "description": "Tables and image sets. A dataset never changes."},
    {"name": "jobs", "description": "Training jobs, their progress and their loss history."},
    {
        "name": "models",
        "description": "What training leaves: weights, encoding, metrics. A model never changes.",
    },
    {"name": "predict", "description": "Rows in, predictions out."},
    {"name": "inference v2", "description": "The Open Inference Protocol v2, for its existing clients."},
    {"name": "operations", "description": "For whoever runs the service."},
]

_CREATED = (
    (("/datasets", "post"), "201", "dataset", "$response.body#/id"),
    (("/jobs", "post"), "202", "job", "$response.body#/id"),
    (("/models/{model}/predictions", "post"), "202", "job", "$response.body#/id"),
    (("/jobs/{job}/replay", "post"), "202", "job", "$response.body#/id"),
    (("/models", "post"), "201", "model", "$response.body#/id"),
    (("/jobs/{job}", "get"), "200", "model", "$response.body#/model_id"),
)
"""What creates, the status with which it does, and which parameter takes what part of the reply."""

EVERYWHERE = (400, 408, 429, 431, 500, 503)
OF_BODIES = (413, 415, 422)
_KEY = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "ol_<id>_<secret>",
    "description": "A key, as `onelayer keys create` prints it. Its scope is `predict`, `read`, `write` or `admin`; "
    "each contains those before it, and each call names the one that it needs.",
}

_BY_HAND = (DatasetRequest, PredictRequest, InferRequest, Problem)


def describe(api: FastAPI, needed: Mapping[str, str | None], is_key_optional: bool) -> None:
    """Complete the OpenAPI document; it is built once, when it is first asked for."""
    api.openapi_version = "3.2.0"
    api.description = _DESCRIPTION
    api.openapi_tags = _TAGS
    derive = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = derive()
            document["components"]["schemas"].update(_schemas())
            _fill_in_paths(document)
            _offer_idempotency(document)
            _foresee_refusals(document)
            _link(document)
            _ask_for_keys(document, needed, is_key_optional)
            describe_headers(document)
            api.openapi_schema = document
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]


def _fill_in_paths(document: dict[str, Any]) -> None:
    """Give each parameter of a path its example where Swagger UI looks for what to fill in."""
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter["example"] = parameter["schema"]["examples"][0]


def _offer_idempotency(document: dict[str, Any]) -> None:
    """Every POST takes a key, which is handled before the routes."""
    header = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Up to 255 visible ASCII characters, such as a UUID. A repetition with the same key and body "
        "has no second effect and gets the first reply.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "examples": [None]},
    }
    for item in document["paths"].values():
        if "post" in item:
            item["post"].setdefault("parameters", []).append(header)
            item["post"]["responses"].setdefault("409", problems(409)[409])


def _link(document: dict[str, Any]) -> None:
    """From what creates something to every call that takes its id."""
    for creator, status, parameter, field in _CREATED:
        path, method = creator
        links = {
            f"{other['operationId']}": {"operationId": other["operationId"], "parameters": {parameter: field}}
            for place, item in document["paths"].items() if f"{{{parameter}}}" in place
            for other in item.values()
        }  # fmt: skip
        document["paths"][path][method]["responses"][status]["links"] = links


def _foresee_refusals(document: dict[str, Any]) -> None:
    """What any request may be answered with, whatever it asks for."""
    for item in document["paths"].values():
        for operation in item.values():
            statuses = EVERYWHERE + (OF_BODIES if "requestBody" in operation else ())
            for status, reply in problems(*statuses).items():
                operation["responses"].setdefault(str(status), reply)


def _ask_for_keys(document: dict[str, Any], needed: Mapping[str, str | None], is_optional: bool) -> None:
    """Say of each call which scope it needs, and how it is refused."""
    document["components"]["securitySchemes"] = {"key": _KEY}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            scope = needed[f"{method.upper()} {path}"]
            operation["security"] = [{"key": [scope]}, *([{}] if is_optional else [])] if scope else []
            if scope:
                operation["responses"] |= {str(status): reply for status, reply in problems(401, 403).items()}


def _schemas() -> dict[str, Any]:
    modes = [(body, "validation") for body in _BY_HAND]
    _, found = models_json_schema(modes, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas: dict[str, Any] = found["$defs"]
    return schemas
