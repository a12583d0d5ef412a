"""The model file: the schema of what a file that is to be imported says of its model."""

from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.datasets.feature_encoding import MOST_LEVELS
from app.datasets.target_encoding import MOST_CLASSES
from app.models.exports.description import VERSION

MOST_COLUMNS = 1_000_000
LARGEST = 1e100
"""Far beyond what training comes to, and small enough for its products to be numbers still."""

MOST_DEGREES = 2**53
Name = Annotated[str, Field(min_length=1, max_length=1000)]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Numbers = Annotated[list[Number], Field(max_length=MOST_COLUMNS)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Numeric(_Strict):
    """A number or a boolean."""

    kind: Literal["numeric"]
    name: Name
    mean: Number
    boolean: bool = False
    indicator: bool = False
    missing_trained: bool = True

    @property
    def columns(self) -> int:
        """How many design columns it makes."""
        return 1 + self.indicator


class Categorical(_Strict):
    """A category."""

    kind: Literal["categorical"]
    name: Name
    levels: Annotated[list[str], Field(min_length=1, max_length=MOST_LEVELS)]
    frequencies: list[Number]
    unknown_trained: bool
    other: bool = False

    @property
    def columns(self) -> int:
        """How many design columns it makes."""
        return len(self.frequencies) + 1

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(self.levels) + self.other != len(self.frequencies) or len(set(self.levels)) < len(self.levels):
            raise ValueError("levels and frequencies must be equally many, and no level stands twice")
        return self


class Array(_Strict):
    """Arrays of one shape."""

    kind: Literal["array"]
    name: Name
    shape: Annotated[list[Annotated[int, Field(ge=1, le=MOST_COLUMNS)]], Field(min_length=1, max_length=8)]
    pixels: bool

    @property
    def columns(self) -> int:
        """How many design columns it makes."""
        return prod(self.shape)


class Target(_Strict):
    """What is predicted."""

    columns: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    classes: Annotated[list[str], Field(min_length=2, max_length=MOST_CLASSES)] | None


class Encoding(_Strict):
    """The features, the target, and the standardisation that training used."""

    features: Annotated[
        list[Annotated[Numeric | Categorical | Array, Field(discriminator="kind")]], Field(min_length=1)
    ]
    target: Target
    mean: Numbers | None
    std: Numbers | None

    @property
    def width(self) -> int:
        """How many design columns all features make."""
        return sum(feature.columns for feature in self.features)


class ErrorsBasis(_Strict):
    """What the errors of the coefficients rest on, or why there are none."""

    degrees: Annotated[int, Field(ge=1, le=MOST_DEGREES)] | None = None
    reference: Annotated[str, Field(max_length=1000)] | None = None
    reason: Annotated[str, Field(max_length=1000)] | None = None


class Description(BaseModel):
    """What a file says of its model. Fields of later versions of the format are not known here and not kept."""

    model_config = ConfigDict(extra="ignore", strict=True)

    format: Literal["onelayer-model"]
    format_version: Annotated[int, Field(ge=1, le=VERSION)]
    kind: Literal["linear", "softmax"]
    metrics: dict[str, Any] = Field(default_factory=dict)
    partial: bool = False
    encoding: Encoding
    inference: ErrorsBasis | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        names = [feature.name for feature in self.encoding.features]
        if len(set(names)) < len(names) or set(names) & set(self.encoding.target.columns):
            raise ValueError("a column stands twice among features and target")
        if (self.encoding.target.classes is None) != (self.kind == "linear"):
            raise ValueError("a softmax model has classes, a linear model has none")
        if self.kind == "softmax" and len(self.encoding.target.columns) != 1:
            raise ValueError("a softmax model has one target")
        classes = self.encoding.target.classes or []
        if len(set(classes)) < len(classes):
            raise ValueError("a class stands twice")
        if self.inference is not None and self.inference.reference not in (None, *classes):
            raise ValueError("the reference of the inference is none of the classes")
        return self
