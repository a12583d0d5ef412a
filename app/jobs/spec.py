"""The spec of a job: what to learn from, what to predict, and how to train."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints, WithJsonSchema, field_validator

from app.datasets.ingest import NAME_LENGTH
from app.identifiers import NAME_PATTERN, is_name
from app.training.hyperparameters import Hyperparameters

Column = Annotated[str, StringConstraints(min_length=1, max_length=NAME_LENGTH)]

_WAYS = {
    "split": {"const": "test", "type": "string"},
    "fraction": {"exclusiveMinimum": 0, "exclusiveMaximum": 1, "type": "number"},
    "dataset": {"maxLength": 200, "type": "string"},
}
_OBJECTS = [
    {"type": "object", "properties": {name: way}, "required": [name], "additionalProperties": False}
    for name, way in _WAYS.items()
]
ValidationRows = Annotated[dict[str, Any], WithJsonSchema({"oneOf": _OBJECTS})]


class Spec(Hyperparameters):
    """A training job as it is asked for. What is left out takes the default that suits the data."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "dataset": "line", "model": "linear", "epochs": 3, "batch_size": 10, "learning_rate": 0.03,
                    "seed": 0, "model_name": "line",
                }
            ]
        },
    )  # fmt: skip

    dataset: str = Field(description="The dataset to learn from, by id or name.", examples=["line"], max_length=200)
    target: Column | list[Column] | None = Field(
        None,
        description="The column to predict; a list of columns for a linear model with several outputs. By default the "
        "dataset's own target.",
        examples=[None],
    )
    features: list[Column] | None = Field(
        None,
        description="The columns to learn from; by default all but the target.",
        examples=[None],
        min_length=1,
        max_length=10_000,
    )
    max_categories: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="How many levels of a category get a column of their own; the rarer ones share the column `other`. "
        "By default each of up to 1000 levels has its own.",
        examples=[None],
    )
    missing_indicator: bool = Field(
        False,
        description="Whether each numeric feature with missing values gets a second column that says where they are.",
        examples=[False],
    )
    validation: ValidationRows | None = Field(
        None,
        description='Which rows validate: null, `{"split": "test"}` (the default where the dataset has that split), '
        '`{"fraction": 0.2}` of the training rows that have a target, drawn by the seed, or `{"dataset": "…"}`.',
        examples=[None],
    )
    model_name: str | None = Field(
        None,
        description="The name of the model; each job with this name adds a version.",
        examples=["line"],
        pattern=NAME_PATTERN,
    )

    shared: bool | None = Field(
        None,
        description="Whether others see and use the model too. By default as the model that its name means, else no.",
        examples=[None],
    )
    priority: int = Field(
        0,
        ge=-100,
        le=100,
        description="Jobs of higher priority are taken first; those of equal priority in the order of their coming.",
        examples=[0],
    )

    @field_validator("validation", mode="before")
    @classmethod
    def _one_kind_of_validation(cls, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= _WAYS.keys():
            raise ValueError('use null, {"split": "test"}, {"fraction": 0.2} or {"dataset": "…"}')
        if "split" in value and value["split"] != "test":
            raise ValueError('the only split to validate on is "test"')
        if "fraction" in value and not _is_fraction(value["fraction"]):
            raise ValueError("fraction is a number above 0 and below 1")
        if "dataset" in value and not isinstance(value["dataset"], str):
            raise ValueError("dataset is an id or a name")
        return value

    @field_validator("model_name")
    @classmethod
    def _no_name_looks_like_an_id(cls, value: str | None) -> str | None:
        if value is not None and not is_name(value):
            raise ValueError("a name must not look like an id")
        return value


def _is_fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1
