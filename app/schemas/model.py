"""A model as clients see it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from app.tables import ModelRow

_ID = "01936f5e-8c1b-7c3e-9d55-2f6f1f0e4a10"


class ModelBody(BaseModel):
    """A trained model. It never changes."""

    id: str = Field(description="Sortable by time of creation.", examples=[_ID])
    name: str | None = Field(
        description="Its name; models of one name are versions of each other.", examples=["houses"]
    )
    version: int | None = Field(description="1, 2, 3, … among the models of its name.", examples=[1])
    aliases: list[str] = Field(
        description="The aliases of this version: `name@alias` means it.", examples=[["champion"]]
    )
    kind: str = Field(description="`linear` or `softmax`.", examples=["linear"])
    job_id: str | None = Field(description="The job that trained it; null if it was imported.", examples=[_ID])
    dataset_id: str | None = Field(description="The dataset it was trained on.", examples=[_ID])
    features: list[dict[str, Any]] = Field(
        description="What it takes, in order: each column's name, kind and, where it has them, categories or shape.",
        examples=[[{"name": "x1", "kind": "numeric"}, {"name": "x2", "kind": "numeric"}]],
    )
    target: list[str] = Field(
        description="What it predicts: one column, or several of a linear model.", examples=[["y"]]
    )
    classes: list[str] | None = Field(description="The classes of a softmax model, in order.", examples=[None])
    metrics: dict[str, Any] = Field(
        description="How good it is, on the training rows and on the validation rows.",
        examples=[{"train": {"mse": 0.0001, "rmse": 0.01, "mae": 0.008, "r2": 0.9999}}],
    )
    partial: bool = Field(
        description="Whether its job ended before the last epoch. Its name means it only if no version of it is whole.",
        examples=[False],
    )
    owner: str | None = Field(
        description="Whose it is: the id of the first key of the owner; null if it was made without one.",
        examples=[None],
    )
    shared: bool = Field(description="Whether every key sees and uses it, or its owner alone.", examples=[False])
    created_at: datetime = Field(description="When it was saved, in UTC.", examples=["2026-01-31T12:00:00Z"])

    @classmethod
    def of(cls, row: ModelRow, aliases: list[str]) -> "ModelBody":
        """The body of a row."""
        names = cls.model_fields.keys() - {"aliases"}
        return cls.model_validate({name: getattr(row, name) for name in names} | {"aliases": aliases})
