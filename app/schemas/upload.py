"""The options of an upload: form fields of a multipart body, query parameters of a raw one."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from app.schemas.dataset import ColumnKind, Name

FILE_PARTS = ("file", "images", "labels", "test_images", "test_labels")

_DELIMITER = r"^([\t !#-&(-/:-@\[-`{-~]|tab|space)$"


def _delimiter(text: str) -> str:
    if re.fullmatch(_DELIMITER, text) is None:
        raise ValueError("a delimiter is one character that is no letter, digit or quote, or the word tab or space")
    return text


Delimiter = Annotated[str, AfterValidator(_delimiter), WithJsonSchema({"type": "string", "pattern": _DELIMITER})]
"""One character that is no letter, digit or quote; or the name of one that is hard to type."""


def _json_like(example: str) -> WrapValidator:
    """Answer what is no JSON of the right kind with what it looks like."""

    def read(text: Any, parse: ValidatorFunctionWrapHandler) -> Any:
        try:
            return parse(text)
        except ValidationError as error:
            if any(fault["loc"] for fault in error.errors(include_url=False)):
                raise  # it names a place inside
            raise ValueError(f"give it as JSON, such as {example}") from error

    return WrapValidator(read)


# The None is inside of the JSON because the framework takes `Json[...] | None` for a parameter that may be repeated.
Columns = Annotated[Json[dict[str, ColumnKind] | None], _json_like('{"island": "ignore"}')]
ClassNames = Annotated[Json[list[str] | None], _json_like('["shirt", "coat"]')]

IN_QUERY_ALONE = ("name", "shared", "dry_run")
"""What a JSON source takes from the query; all else belongs into its body."""


class UploadOptions(BaseModel):
    """What a client may say about a file beside the file."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = Field(None, description="A name, unique among the datasets there are.", examples=[None])
    target: str | None = Field(None, description="The column that jobs predict by default.", examples=[None])
    columns: Columns = Field(
        None,
        description="JSON: column → `numeric`, `categorical`, `boolean` or `ignore`.",
        examples=[None],
    )
    shared: bool = Field(False, description="Whether every key sees and uses it, or its owner alone.", examples=[False])
    dry_run: bool = Field(False, description="Check and describe, but keep nothing: 200.", examples=[False])
    class_names: ClassNames = Field(
        None,
        description="JSON: the names of the classes 0, 1, 2, … of an image set, or of the whole numbers `y` of an NPZ.",
        examples=[None],
    )
    delimiter: Delimiter | None = Field(
        None,
        description="CSV: what stands between values: one character, `tab` or `space`. Found in the file by default.",
        examples=[None],
    )
    quote: Literal['"', "'", "none"] | None = Field(
        None, description="CSV: what encloses values, or `none`. Found in the file by default.", examples=[None]
    )
    encoding: str | None = Field(
        None,
        description="CSV: how the text is encoded; the charset of its Content-Type says so, too. By default as its "
        "byte order mark says, else UTF-8.",
        examples=[None],
        max_length=40,
    )
    header: bool | None = Field(
        None,
        description="CSV: whether the first line names the columns. Found in the file by default; without names the "
        "columns are `x1…xd`.",
        examples=[None],
    )
    decimal: Literal[".", ","] | None = Field(
        None, description="CSV: what stands before the decimals of a number; a point by default.", examples=[None]
    )


_CSV, _NDJSON = "x1,x2,y\n1,2,-0.5\n3,1,6.8\n", '{"x1": 1, "x2": 2, "y": -0.5}\n{"x1": 3, "x2": 1, "y": 6.8}\n'
_EXAMPLES = {
    "text/csv": _CSV,
    "application/csv": _CSV,
    "text/tab-separated-values": _CSV.replace(",", "\t"),
    "application/x-ndjson": _NDJSON,
    "application/jsonl": _NDJSON,
}
"""What a table looks like in the formats that are text."""


def request_body(raw_media_types: tuple[str, ...]) -> dict[str, Any]:
    """The request body of POST /datasets for the OpenAPI document: JSON, multipart, or a raw file."""
    options = UploadOptions.model_json_schema()["properties"]
    parts = {part: {"type": "string", "format": "binary", "description": _PARTS[part]} for part in FILE_PARTS}
    properties = parts | {name: _as_text(field) for name, field in options.items()}
    multipart = {"type": "object", "properties": properties, "additionalProperties": False}
    return {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/DatasetRequest"}},
            "multipart/form-data": {"schema": multipart},
            **{media_type: _raw(media_type) for media_type in raw_media_types},
        },
    }


def _raw(media_type: str) -> dict[str, Any]:
    if media_type in _EXAMPLES:
        return {"schema": {"type": "string"}, "example": _EXAMPLES[media_type]}
    return {"schema": {"type": "string", "format": "binary"}}


_PARTS = {
    "file": "A table; its format comes from the part's media type, else from the file's name.",
    "images": "Images in the IDX format, plain or gzip.",
    "labels": "Their labels in the IDX format.",
    "test_images": "Images of the test split.",
    "test_labels": "Their labels.",
}


def _as_text(field: dict[str, Any]) -> dict[str, Any]:
    return {"type": "string", "description": field["description"], "examples": field["examples"]}
