"""Learning-rate schedules: each is declared once, with its formula.

The rate of a minibatch is rate · factor(t), where t is the position in epochs of the minibatch's start: 0 at
the first minibatch, `epochs` at the end. It changes from minibatch to minibatch, except in the steps of
`step`.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Positions = NDArray[np.float64]


class Schedule(BaseModel):
    """What the schedules share."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def factors(self, t: Positions, epochs: int) -> Positions:
        """Factor of the learning rate at the positions t, in epochs."""
        raise NotImplementedError


class ConstantSchedule(Schedule):
    """No change: factor = 1."""

    type: Literal["constant"] = Field("constant", description="The rate stays as it is.", examples=["constant"])

    def factors(self, t: Positions, epochs: int) -> Positions:
        """See the class."""
        return np.ones_like(t)


class LinearSchedule(Schedule):
    """Along a line: factor = 1 − (1 − final) · t / epochs."""

    type: Literal["linear"] = Field(description="The rate falls along a line.", examples=["linear"])
    final: float = Field(0.0, ge=0, le=1, description="Factor at the end of training.", examples=[0.0])

    def factors(self, t: Positions, epochs: int) -> Positions:
        """See the class."""
        return 1 - (1 - self.final) * t / epochs


class CosineSchedule(Schedule):
    """Along half a cosine: factor = final + (1 − final) · ½(1 + cos(π t / epochs)).

    Loshchilov and Hutter, "SGDR", 2017, without restarts
    """

    type: Literal["cosine"] = Field(description="The rate falls along half a cosine.", examples=["cosine"])
    final: float = Field(0.0, ge=0, le=1, description="Factor at the end of training.", examples=[0.0])

    def factors(self, t: Positions, epochs: int) -> Positions:
        """See the class."""
        return self.final + (1 - self.final) * 0.5 * (1 + np.cos(np.pi * t / epochs))


class StepSchedule(Schedule):
    """In steps: factor = gamma ^ ⌊t / every⌋.

    torch.optim.lr_scheduler.StepLR
    """

    type: Literal["step"] = Field(description="The rate falls every few epochs.", examples=["step"])
    every: int = Field(10, ge=1, le=1_000_000, description="Epochs between two falls.", examples=[10])
    gamma: float = Field(0.5, gt=0, le=1, description="Factor of each fall.", examples=[0.5])

    def factors(self, t: Positions, epochs: int) -> Positions:
        """See the class."""
        return np.asarray(self.gamma ** np.floor(t / self.every))


class InverseSqrtSchedule(Schedule):
    """With the root of the epochs passed: factor = 1 / √(1 + t)."""

    type: Literal["inverse_sqrt"] = Field(
        description="The rate falls with the root of the epochs passed.", examples=["inverse_sqrt"]
    )

    def factors(self, t: Positions, epochs: int) -> Positions:
        """See the class."""
        return 1 / np.sqrt(1 + t)


LearningRateSchedule = Annotated[
    ConstantSchedule | LinearSchedule | CosineSchedule | StepSchedule | InverseSqrtSchedule,
    Field(discriminator="type"),
]


def rates(schedule: Schedule, rate: float, epoch: int, epochs: int, steps: int) -> Positions:
    """Learning rates of the `steps` minibatches of one epoch (counted from 1)."""
    t = epoch - 1 + np.arange(steps) / steps
    return rate * schedule.factors(t, epochs)
