"""The bounds of options that are declared in more than one place: of a training, and of a sweep that tries several."""

from typing import Annotated

from pydantic import Field

LARGEST_SEED = 2**53 - 1
"""The largest integer that JSON carries unharmed everywhere."""

LearningRate = Annotated[float, Field(gt=0, le=1e6)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Penalty = Annotated[float, Field(ge=0, le=1e6)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
