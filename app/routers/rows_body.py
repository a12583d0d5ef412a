"""The JSON of rows to predict: read by hand, as fast as it can be, and named by its place where it is wrong."""

import json
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from app.errors import Fault, InvalidRequest
from app.problems import faults_of
from app.routers.json_body import check_width, loads
from app.routers.nesting import check_nesting

Asked = TypeVar("Asked", bound=BaseModel)


def parsed(body: bytes, kind: type[Asked], depth_limit: int) -> Asked:
    """The body as a request of this kind."""
    check_nesting(body, depth_limit)
    given = _loads(body)
    check_width(given)
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise InvalidRequest(faults_of(error.errors(include_url=False), given, kind)) from error


def _loads(body: bytes) -> Any:
    try:
        return loads(body)
    except orjson.JSONDecodeError as error:
        # NaN and Infinity are no JSON, yet many clients write them: read them, so that the reply can name the place.
        try:
            return json.loads(body.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            raise InvalidRequest(Fault("body", f"this is no JSON: {error}")) from error
