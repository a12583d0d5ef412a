"""The bodies of the Open Inference Protocol v2, as far as they are not read by hand."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.models.tensors import TensorBody


class OutputBody(BaseModel):
    """An output that is asked for."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Such as `predict`.", examples=["predict"], max_length=100)
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="`binary_data`: as bytes after the JSON. `classification`: how many of each row's most probable "
        "classes to give instead of `probabilities`, as texts `value:index:label`.",
        examples=[{}],
    )


class InferRequest(BaseModel):
    """Tensors to predict from."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"inputs": [{"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]}]
        },
    )

    id: str | None = Field(None, description="Echoed in the reply.", examples=["1"], max_length=1000)
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="`binary_data_output`: all outputs as bytes.", examples=[{}]
    )
    inputs: list[TensorBody] = Field(description="`X`, or a tensor for each column.", min_length=1, max_length=100_000)
    outputs: list[OutputBody] | None = Field(
        None, description="Which outputs; by default all that cost nothing.", max_length=1000
    )


class ServerMetadata(BaseModel):
    """What the server is."""

    name: str = Field(description="Its name.", examples=["onelayer"])
    version: str = Field(description="Its version.", examples=["0.1.0"])
    extensions: list[str] = Field(description="What it has beyond the core.", examples=[["binary_tensor_data"]])


class Live(BaseModel):
    """Whether it is alive."""

    live: bool = Field(description="True as long as it answers.", examples=[True])


class Ready(BaseModel):
    """Whether it can predict."""

    ready: bool = Field(description="True if it can.", examples=[True])


class ModelReady(Ready):
    """Whether a model can be asked."""

    name: str = Field(description="The model.", examples=["line"])


class TensorMetadata(BaseModel):
    """A tensor that a model takes or gives."""

    name: str = Field(description="Its name.", examples=["X"])
    datatype: str = Field(description="Its datatype.", examples=["FP32"])
    shape: list[int] = Field(description="Its shape; −1 is any number of rows.", examples=[[-1, 2]])


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str = Field(description="As it was asked for.", examples=["line"])
    versions: list[str] = Field(description="The versions of the name.", examples=[["1", "2"]])
    platform: str = Field(description="What it is.", examples=["onelayer_linear"])
    inputs: list[TensorMetadata] = Field(description="What it takes.")
    outputs: list[TensorMetadata] = Field(description="What it gives.")


class IndexRequest(BaseModel):
    """Which models to list."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"ready": True}]})

    ready: bool = Field(False, description="Only models that are ready; all are.", examples=[False])


class IndexEntry(BaseModel):
    """A model of the repository."""

    name: str = Field(description="Its name, or its id if it has none.", examples=["line"])
    version: str = Field(description="Its version.", examples=["1"])
    state: str = Field(description="READY.", examples=["READY"])
    reason: str = Field(description="Why it is not ready; empty.", examples=[""])


class OutputTensor(TensorMetadata):
    """An output."""

    parameters: dict[str, Any] | None = Field(None, description="`binary_data_size` of bytes.", examples=[None])
    data: list[Any] | None = Field(
        None, description="The values, flat; absent if they follow as bytes.", examples=[[3.0]]
    )


class InferReply(BaseModel):
    """The outputs."""

    model_name: str = Field(description="As it was asked for.", examples=["line"])
    model_version: str = Field(description="The version that answered.", examples=["1"])
    id: str | None = Field(None, description="The request's id.", examples=["1"])
    outputs: list[OutputTensor] = Field(description="The outputs, in the order asked for.")
