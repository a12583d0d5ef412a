"""Where training starts from: each way is declared once, with its formula."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field


class NormalInit(BaseModel):
    """Weights ~ N(mean, std²), bias 0; d2l §3.4 has N(0, 0.01²)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    type: Literal["normal"] = Field("normal", description="Weights drawn from N(mean, std²).", examples=["normal"])
    mean: float = Field(0.0, ge=-1e6, le=1e6, description="Mean of the weights; the bias is 0.", examples=[0.0])
    std: float = Field(0.01, ge=0, le=1e6, description="Standard deviation of the weights.", examples=[0.01])

    def draw(self, features: int, outputs: int, seed: int) -> NDArray[np.float32]:
        """Weights (d, k), a function of the seed alone."""
        generator = np.random.Generator(np.random.PCG64(seed))
        return generator.normal(self.mean, self.std, (features, outputs)).astype(np.float32)


class ZerosInit(BaseModel):
    """Weights 0, bias 0."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: Literal["zeros"] = Field(description="Weights and bias start at 0.", examples=["zeros"])

    def draw(self, features: int, outputs: int, seed: int) -> NDArray[np.float32]:
        """Weights (d, k), all 0."""
        return np.zeros((features, outputs), np.float32)


class ModelInit(BaseModel):
    """Weights and bias of a trained model: training goes on from there."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: Literal["model"] = Field(description="Start from a model's weights and bias.", examples=["model"])
    model: str = Field(
        description="The model, by id, name or `name:version`.", examples=["line:1"], min_length=1, max_length=200
    )

    def draw(self, features: int, outputs: int, seed: int) -> NDArray[np.float32]:
        """Nothing is drawn: whoever loads the model hands its parameters over in `Problem.start`."""
        raise NotImplementedError("the parameters of a model come with the problem")


Init = Annotated[NormalInit | ZerosInit | ModelInit, Field(discriminator="type")]
