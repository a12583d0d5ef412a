"""Evaluating a model on a dataset, and predicting one, as clients ask for it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.predict import Output

_DATASET = "The dataset, by id or name; it has the model's feature columns."
_SPLIT = "Which rows: `train`, `test` or `all`."


class EvaluateRequest(BaseModel):
    """Rows whose target is known."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"dataset": "line"}]})

    dataset: str = Field(description=_DATASET + " It also has the target.", examples=["houses"], max_length=200)
    split: Literal["train", "test", "all"] | None = Field(
        None, description=_SPLIT + " By default `test` where the dataset has that split, else `all`.", examples=["all"]
    )


class Evaluation(BaseModel):
    """The metrics of a linear model (mse, rmse, mae, r2) or of a softmax model (the others)."""

    rows: int = Field(description="How many rows were measured.", examples=[10000])
    rows_without_target: int = Field(description="How many rows were left out, their target missing.", examples=[0])
    split: str = Field(description="The split that was measured.", examples=["test"])
    mse: float | None = Field(
        None, description="Mean squared error; this and the next three of several targets together.", examples=[None]
    )
    rmse: float | None = Field(None, description="Root of the mean squared error, in target units.", examples=[None])
    mae: float | None = Field(None, description="Mean absolute error.", examples=[None])
    r2: float | None = Field(None, description="Share of the variance explained.", examples=[None])
    per_target: dict[str, Any] | None = Field(
        None, description="Of several targets, by name: mse, rmse, mae and r2 of each.", examples=[None]
    )
    cross_entropy: float | None = Field(None, description="Mean of −log(probability of the class).", examples=[0.47])
    accuracy: float | None = Field(None, description="Share of rows predicted right.", examples=[0.84])
    classes: list[str] | None = Field(None, description="The order of the matrix.", examples=[["Adelie", "Gentoo"]])
    confusion_matrix: list[list[int]] | None = Field(
        None, description="Counts: a row for each true class, a column for each predicted one.", examples=[[[5, 1]]]
    )
    per_class: dict[str, Any] | None = Field(
        None,
        description="By class: precision, recall, f1, support.",
        examples=[{"Adelie": {"precision": 1.0, "recall": 0.98, "f1": 0.99, "support": 50}}],
    )
    roc_auc: float | None = Field(
        None, description="With two classes: the area under the ROC curve of the second.", examples=[None]
    )
    most_wrong: list[dict[str, Any]] = Field(
        description="The rows that are most wrong, worst first: of a linear model by absolute error, of a softmax "
        "model by the probability of the wrong class; `row` counts from 0 within the split.",
        examples=[[{"row": 17, "target": "shirt", "prediction": "bag", "probability": 0.99}]],
    )


class BatchRequest(BaseModel):
    """A dataset to predict as a job."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"dataset": "line", "outputs": ["interval"]}]}
    )

    dataset: str = Field(description=_DATASET, examples=["houses"], max_length=200)
    split: Literal["train", "test", "all"] = Field("all", description=_SPLIT, examples=["all"])
    outputs: list[Output] = Field(
        default_factory=list, description="What to add to the predictions, as in POST /predict.", examples=[[]]
    )
    top_k: int | None = Field(None, ge=1, le=1000, description="Softmax: the k most probable classes.", examples=[None])
    interval_level: float = Field(0.95, gt=0, lt=1, description="The probability of an interval.", examples=[0.95])
    columns: list[str] = Field(
        default_factory=list,
        description="Columns of the dataset to carry over beside the predictions, such as an id; each once.",
        examples=[[]],
        max_length=1000,
    )


class AliasRequest(BaseModel):
    """The version that an alias is to mean."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": 1}]})

    version: int = Field(ge=1, lt=10**9, description="A version of the name.", examples=[2])
