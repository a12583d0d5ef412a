"""The bodies of /predict. The rows themselves are checked against the model, not by pydantic, which would be slow."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Output = Literal["probabilities", "contributions", "interval", "drift"]

_OUTPUTS = (
    "What to add to the predictions: `probabilities` (softmax) of each row in the order of the model's classes; "
    "`contributions`, what each feature adds to the output against the mean of the training rows; `interval` (linear), "
    "where a new observation lies with probability `interval_level`, null where the training rows tell nothing of the "
    "row; `drift`, which features lie outside what the training rows had."
)
_LEVEL = "With `interval`: the probability with which a new observation lies in it; 0.95 by default."
_TOP_K = "Softmax: also name each row's k most probable classes."
_MODEL = "A model's id, its name (the newest version that is not partial), `name:version` or `name@alias`."


class PredictOptions(BaseModel):
    """What to say about the rows. With a body that is no JSON they are query parameters."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description=_MODEL, examples=["houses"], max_length=210)
    outputs: list[Output] = Field(default_factory=list, description=_OUTPUTS, examples=[[]], max_length=20)
    top_k: int | None = Field(None, ge=1, le=1000, description=_TOP_K, examples=[None])
    interval_level: float = Field(0.95, gt=0, lt=1, description=_LEVEL, examples=[0.95])


class BodyOptions(PredictOptions):
    """With a body that is no JSON, what there is to say about it too."""

    encoding: str | None = Field(
        None,
        description="CSV: how the text is encoded. By default as its byte order mark says, else UTF-8.",
        examples=[None],
        max_length=40,
    )
    decimal: Literal[".", ","] | None = Field(
        None, description="CSV: what stands before the decimals of a number; a point by default.", examples=[None]
    )


class PredictRequest(PredictOptions):
    """Rows to predict, and what to say about them. That there are either rows or records is for the route to see."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"model": "line", "instances": [[1.0, 2.0], [0.5, -0.5]]}]}
    )

    instances: list[Any] | None = Field(
        None,
        description="Rows in feature order, each a list of values in the dataset's own units (pixels are 0 to 255, "
        "flat or in the image's shape; null is a missing value; categories are strings).",
        examples=[[[2.0, -1.0], [0.5, 0.5]]],
    )
    records: list[dict[str, Any]] | None = Field(
        None,
        description="Rows as objects by column name, in the dataset's own units and categories. Give either "
        "`instances` or `records`.",
        examples=[None],
    )


class ModelReference(BaseModel):
    """Which model answered."""

    id: str = Field(description="The model's id.", examples=["01936f5e-8c1b-7c3e-9d55-2f6f1f0e4a10"])
    name: str | None = Field(description="Its name, if it has one.", examples=["houses"])
    version: int | None = Field(description="Its version among the models of that name.", examples=[1])


class ClassProbability(BaseModel):
    """One class and how probable it is."""

    class_: str = Field(alias="class", description="The class.", examples=["Sneaker"])
    probability: float = Field(description="Its probability.", examples=[0.93])


class Contributions(BaseModel):
    """What each feature adds: the baseline and a row's values sum to its prediction, or to its logits."""

    features: list[str] = Field(description="The columns, or the elements of an array.", examples=[["x1", "x2"]])
    outputs: list[str] = Field(description="The classes, or the targets.", examples=[["y"]])
    baseline: float | list[float] = Field(
        description="The output for the mean of the training rows; a list by output unless there is one target.",
        examples=[4.2],
    )
    values: list[Any] = Field(
        description="By row and feature, and by output unless there is one target: weight × (value − training mean).",
        examples=[[[2.0, 3.4]]],
    )


class Drift(BaseModel):
    """A feature of a row that lies outside what the training rows had."""

    feature: str = Field(description="The column.", examples=["x1"])
    reason: str = Field(description="In words.", examples=["outside the training range -3.2 to 3.1"])
    value: float | None = Field(None, description="A number's value.", examples=[17.0])
    min: float | None = Field(None, description="The least value of the training rows.", examples=[-3.2])
    max: float | None = Field(None, description="The greatest value of the training rows.", examples=[3.1])


class PredictReply(BaseModel):
    """The predictions, one for each row, in the order of the rows."""

    model: ModelReference = Field(description="Which model answered.")
    predictions: list[Any] = Field(
        description="A number for each row of a linear model (a list of numbers if it has several targets), the class "
        "for each row of a softmax model.",
        examples=[[11.6, 3.5]],
    )
    probabilities: list[list[float]] | None = Field(
        None,
        description="Each row's probabilities, in the order of the model's `classes`.",
        examples=[[[0.9, 0.1]]],
    )
    top_k: list[list[ClassProbability]] | None = Field(None, description="Each row's most probable classes.")
    contributions: Contributions | None = Field(None, description="What each feature adds to the outputs.")
    intervals: list[Any] | None = Field(
        None,
        description="Each row's prediction interval, `[low, high]` (one for each target if there are several). Both "
        "are null in a row that does not keep to what held in every training row (one column twice another, say, or a "
        "constant), or has a category or a missing value that no training row had.",
        examples=[[[11.5, 11.7], [3.4, 3.6]]],
    )
    drift: list[list[Drift]] | None = Field(None, description="Each row's features outside the training rows' range.")
