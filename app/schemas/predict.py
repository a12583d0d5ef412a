"""The bodies of /predict. The rows themselves are checked against the model, not by pydantic, which would be slow."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class PredictRequest(BaseModel):
    """Rows to predict, and what to say about them."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"model": "line", "instances": [[1.0, 2.0], [0.5, -0.5]]}]}
    )

    model: str = Field(
        description="A model's id, its name (the newest version), or `name:version`.",
        examples=["houses"],
        max_length=200,
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
    outputs: list[Literal["probabilities"]] = Field(
        default_factory=list,
        description="What to add to the predictions; `probabilities` (softmax) gives each row's, in the order of the "
        "model's classes.",
        examples=[[]],
    )
    top_k: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Softmax: also name each row's k most probable classes.",
        examples=[None],
    )

    @model_validator(mode="after")
    def _either_instances_or_records(self) -> "PredictRequest":
        if (self.instances is None) == (self.records is None):
            raise ValueError("give either instances or records")
        return self


class ModelReference(BaseModel):
    """Which model answered."""

    id: str = Field(description="The model's id.", examples=["01936f5e-8c1b-7c3e-9d55-2f6f1f0e4a10"])
    name: str | None = Field(description="Its name, if it has one.", examples=["houses"])
    version: int | None = Field(description="Its version among the models of that name.", examples=[1])


class ClassProbability(BaseModel):
    """One class and how probable it is."""

    class_: str = Field(alias="class", description="The class.", examples=["Sneaker"])
    probability: float = Field(description="Its probability.", examples=[0.93])


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
