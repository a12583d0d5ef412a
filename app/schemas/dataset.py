"""Datasets as clients see them, and the sources that a JSON body can name."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool
from pydantic.config import JsonDict

from app.datasets.synthetic import LARGEST, LEAST_NOISE_STD
from app.identifiers import NAME_PATTERN
from app.tables import DatasetRow

_ID = "01936f5e-8c1b-7c3e-9d55-2f6f1f0e4a10"
_FORMAT = {"name": "csv", "delimiter": ",", "quote": '"', "encoding": "utf-8", "header": True, "decimal": "."}


def _spread(std: float) -> float:
    if 0 < std < LEAST_NOISE_STD:
        raise ValueError(f"use {LEAST_NOISE_STD:g} or more, or 0 for no noise at all")
    return std


Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Spread = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
NoiseSpread = Annotated[Spread, AfterValidator(_spread)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
ColumnKind = Literal["numeric", "categorical", "boolean", "ignore"]

_EXAMPLE_LINEAR: JsonDict = {
    "type": "synthetic_linear",
    "weights": [2, -3.4],
    "bias": 4.2,
    "rows": 1000,
    "noise_std": 0.01,
    "seed": 0,
}


class SyntheticLinearSource(BaseModel):
    """y = Xw + b + noise: columns `x1…xd`, target `y`."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["synthetic_linear"] = Field(description="Which source.", examples=["synthetic_linear"])
    weights: list[Number] = Field(
        min_length=1, max_length=10_000, description="The true weights; their number is that of the features.",
        examples=[[2, -3.4]],
    )  # fmt: skip
    bias: Number = Field(0.0, description="The true bias.", examples=[4.2])
    rows: int = Field(ge=1, le=10_000_000, description="How many rows.", examples=[1000])
    feature_mean: Number = Field(0.0, description="Mean of every feature.", examples=[0.0])
    feature_std: Spread = Field(1.0, description="Standard deviation of every feature.", examples=[1.0])
    noise_std: Spread = Field(0.01, description="Standard deviation of the noise on y.", examples=[0.01])
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the random numbers.", examples=[0])

    @property
    def width(self) -> int:
        """How many features."""
        return len(self.weights)


class SyntheticSoftmaxSource(BaseModel):
    """One cloud of points for each class: columns `x1…xd`, target `label`."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["synthetic_softmax"] = Field(description="Which source.", examples=["synthetic_softmax"])
    classes: int = Field(ge=2, le=1000, description="How many classes.", examples=[3])
    features: int = Field(ge=1, le=10_000, description="How many features.", examples=[2])
    rows: int = Field(ge=1, le=10_000_000, description="How many rows.", examples=[600])
    separation: Spread = Field(2.0, description="Mean distance between two centres.", examples=[2.0])
    noise_std: NoiseSpread = Field(1.0, description="Standard deviation of each cloud.", examples=[1.0])
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the random numbers.", examples=[0])

    @property
    def width(self) -> int:
        """How many features."""
        return self.features


class RecordsSource(BaseModel):
    """Rows given in the request itself."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["records"] = Field(description="Which source.", examples=["records"])
    records: list[dict[str, Any]] = Field(
        min_length=1, description="The rows, as objects by column name; null is a missing value.",
        examples=[[{"area": 70, "age": 12, "price": 210000}, {"area": 120, "age": 3, "price": 390000}]],
    )  # fmt: skip


SOURCES = ("synthetic_linear", "synthetic_softmax", "records")


class NoSuchSource(ValueError):
    """The type of a source is missing, or is none."""

    option = "type"

    def __init__(self) -> None:
        super().__init__(f"say which source: {', '.join(SOURCES[:-1])} or {SOURCES[-1]}")


def _typed(source: Any) -> Any:
    if isinstance(source, dict) and source.get("type") not in SOURCES:
        raise NoSuchSource
    return source


Source = Annotated[
    SyntheticLinearSource | SyntheticSoftmaxSource | RecordsSource,
    Field(discriminator="type", description="Where the rows come from.", examples=[_EXAMPLE_LINEAR]),
    BeforeValidator(_typed),
]


class DatasetRequest(BaseModel):
    """A dataset to be made from a source."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "line", "source": _EXAMPLE_LINEAR}]}
    )

    source: Source
    name: Name | None = Field(None, description="A name, unique among the datasets there are.", examples=[None])
    shared: StrictBool = Field(
        False, description="Whether every key sees and uses it, or its owner alone.", examples=[False]
    )
    target: str | None = Field(None, description="The column that jobs predict by default.", examples=[None])
    columns: dict[str, ColumnKind] | None = Field(
        None, description="Kinds of columns, where the inferred ones are not meant.", examples=[None]
    )


class DatasetBody(BaseModel):
    """A dataset. It never changes."""

    id: str = Field(description="Sortable by time of creation.", examples=[_ID])
    name: str | None = Field(description="Its name.", examples=["houses"])
    created_at: datetime = Field(description="When it was created, in UTC.", examples=["2026-01-31T12:00:00Z"])
    rows: int = Field(description="How many rows, all splits together.", examples=[1000])
    bytes: int = Field(description="What it occupies on disk.", examples=[26744])
    cached_bytes: int = Field(
        description="What its encoded matrices occupy on disk besides; jobs share them, and make them anew.",
        examples=[0],
    )
    sha256: str = Field(
        description="Hash of the content: the same table has the same, whatever format it came in.",
        examples=["9f86d081…"],
    )
    target: str | None = Field(description="The column that jobs predict by default.", examples=["y"])
    columns: list[dict[str, Any]] = Field(
        description="Each column: its name and kind, how many values are missing; mean, std, min, max and quantiles of "
        "numbers (beyond 2⁵³ min and max are integers), categories with their counts, or the shape of arrays; and a "
        "`note` where texts look like numbers, numbers may be names, or dates are left out.",
        examples=[
            [
                {
                    "name": "x1",
                    "kind": "numeric",
                    "missing": 0,
                    "mean": 0.01,
                    "std": 0.99,
                    "min": -3.1,
                    "max": 3.2,
                }
            ]
        ],
    )
    splits: dict[str, int] = Field(description="How many rows each split has.", examples=[{"train": 1000, "test": 0}])
    truth: dict[str, Any] | None = Field(
        description="What a synthetic set was made of: its source with all defaults, from which it can be made again, "
        "and of classes the centres, weights and bias that follow from it.",
        examples=[{**_EXAMPLE_LINEAR, "feature_mean": 0.0, "feature_std": 1.0}],
    )
    format: dict[str, Any] | None = Field(
        description="The format that it was uploaded in, with the dialect of a CSV file; null for a source in JSON.",
        examples=[_FORMAT],
    )
    owner: str | None = Field(
        description="Whose it is: the id of the first key of the owner; null if it was made without one.",
        examples=[None],
    )
    shared: bool = Field(description="Whether every key sees and uses it, or its owner alone.", examples=[False])

    @classmethod
    def of(cls, row: DatasetRow, cached_bytes: int = 0) -> "DatasetBody":
        """The body of a row."""
        names = (name for name in cls.model_fields if name != "cached_bytes")
        return cls(cached_bytes=cached_bytes, **{name: getattr(row, name) for name in names})


class DatasetPreview(BaseModel):
    """What a dataset would be (`dry_run`); nothing is kept."""

    rows: int = Field(description="How many rows, all splits together.", examples=[1000])
    sha256: str = Field(description="Hash of the content.", examples=["9f86d081…"])
    target: str | None = Field(description="The column that jobs predict by default.", examples=["y"])
    columns: list[dict[str, Any]] = Field(
        description="Each column with its inferred kind and statistics, and a `note` where texts look like numbers, "
        "numbers may be names, or dates are left out.",
        examples=[[{"name": "x1", "kind": "numeric", "missing": 0, "mean": 0.01}]],
    )
    splits: dict[str, int] = Field(description="How many rows each split has.", examples=[{"train": 1000, "test": 0}])
    format: dict[str, Any] | None = Field(
        description="The format that was read, with the dialect that was found or asked for in a CSV file.",
        examples=[_FORMAT],
    )


class PlotOptions(BaseModel):
    """What to see of a dataset."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["histogram", "scatter", "images"] | None = Field(
        None,
        description="By default images where there are any, a scatter plot where x and y are given, else a histogram.",
        examples=[None],
    )
    x: str | None = Field(None, description="The column to draw; by default the target, or the images.", examples=["y"])
    y: str | None = Field(None, description="The second column of a scatter plot.", examples=[None])
    color: str | None = Field(
        None,
        description="The column whose classes are the colours of a scatter plot; by default the target, if it has "
        "few classes.",
        examples=[None],
    )
    split: Literal["all", "train", "test"] = Field("all", description="Rows of which split.", examples=["all"])
    limit: int | None = Field(
        None, ge=1, le=20_000, description="How many points (2000 by default) or images (18) at most.", examples=[None]
    )


class Rows(BaseModel):
    """Rows of a dataset."""

    items: list[dict[str, Any]] = Field(
        description="The rows by column name; null is a missing value.", examples=[[{"x1": 0.1, "x2": -1.2, "y": 8.5}]]
    )
