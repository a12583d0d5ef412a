"""What the service says of itself."""

from pydantic import BaseModel, Field


class Health(BaseModel):
    """The process answers."""

    status: str = Field(description="Always `ok`.", examples=["ok"])


class Readiness(BaseModel):
    """Whether the service can do its work, and if not, what is missing."""

    ready: bool = Field(description="Whether all of it is there.", examples=[True])
    database: bool = Field(description="The database answers.", examples=[True])
    migrations: bool = Field(description="Its schema is the one this version needs.", examples=[True])
    storage: bool = Field(description="The data directory can be written.", examples=[True])
    worker: bool = Field(description="At least one training worker is alive.", examples=[True])
