"""The problem document as the OpenAPI document shows it."""

from typing import Any

from pydantic import BaseModel, Field

from app.problems import MEDIA_TYPE


class FaultBody(BaseModel):
    """One thing wrong with a request."""

    location: str = Field(description="The field, or the row and column of the data.", examples=["learning_rate"])
    message: str = Field(description="What is wrong with it.", examples=["Input should be greater than 0"])


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(
        description="A URI that ends in the error's code.", examples=["urn:onelayer:problem:invalid-request"]
    )
    title: str = Field(description="The kind of error, in words.", examples=["The request has faults"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(
        description="What happened and what to do.",
        examples=["learning_rate: Input should be greater than 0"],
    )
    errors: list[FaultBody] | None = Field(None, description="With 422: every fault that was found.")


_MEANINGS = {
    400: "The request cannot be read.",
    401: "The call needs a key, and none came that counts.",
    403: "The key does not allow it.",
    404: "There is no such thing.",
    405: "Not with this method.",
    406: "No such representation.",
    408: "The request came too slowly.",
    409: "The state of the resource forbids it.",
    413: "The body is larger than the limit.",
    415: "The media type is none that this path reads.",
    416: "The file has no such range; `Content-Range` says how long it is.",
    422: "The request, or the data in it, has faults.",
    429: "More than the service takes on at present.",
    431: "The address and the headers are larger than the limit.",
    500: "A fault of the server; its log holds more.",
    503: "The service cannot take the request on at present, or not in time.",
    507: "The disk is full.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error replies of a route, for the OpenAPI document."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses
    }
