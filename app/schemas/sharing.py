"""Sharing: the one thing about a dataset or a model that its owner may change."""

from pydantic import BaseModel, ConfigDict, Field, StrictBool


class ShareRequest(BaseModel):
    """Whether others see it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"shared": True}]})

    shared: StrictBool = Field(description="Whether every key sees and uses it, or its owner alone.", examples=[True])
