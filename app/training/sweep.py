"""A sweep, declared: options to try in every combination, or in some drawn at random, trained together."""

import itertools
import math
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.training.bounds import LearningRate, Momentum, Penalty, Seed

MOST_CANDIDATES = 256
MOST_COMBINATIONS = 1_000_000
SWEPT = ("learning_rate", "l2", "momentum", "seed")


class RandomChoice(BaseModel):
    """Some combinations instead of all."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    candidates: int = Field(
        ge=1, le=MOST_CANDIDATES, description="How many combinations to draw, by the job's seed.", examples=[16]
    )


class Sweep(BaseModel):
    """Values to try. All candidates are trained in one pass over shared minibatches; the best becomes the model."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    learning_rate: list[LearningRate] | None = Field(
        None, min_length=1, max_length=1000, description="Learning rates to try.", examples=[[0.01, 0.1, 1.0]]
    )
    l2: list[Penalty] | None = Field(
        None, min_length=1, max_length=1000, description="Weights of the l2 penalty to try.", examples=[[0.0, 0.001]]
    )
    momentum: list[Momentum] | None = Field(
        None, min_length=1, max_length=1000, description="Momenta to try.", examples=[[0.0, 0.9]]
    )
    seed: list[Seed] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="Seeds of the first weights to try; the minibatches are those of the job's own seed.",
        examples=[[0, 1, 2]],
    )
    random: RandomChoice | None = Field(
        None, description="Draw some of the combinations instead of trying all.", examples=[None]
    )

    @model_validator(mode="after")
    def _of_a_size_that_can_be_trained(self) -> Self:
        count = math.prod(len(values) for values in self._values().values())
        if not self._values():
            raise ValueError(f"a sweep needs values to try: {', '.join(SWEPT)}")
        if self.random is None and count > MOST_CANDIDATES:
            raise ValueError(f"{count} combinations are more than {MOST_CANDIDATES}; try fewer, or draw some at random")
        if count > MOST_COMBINATIONS:
            raise ValueError(f"{count} combinations are more than {MOST_COMBINATIONS} to draw from")
        return self

    def _values(self) -> dict[str, list[float]]:
        return {name: getattr(self, name) for name in SWEPT if getattr(self, name) is not None}

    def candidates(self, seed: int) -> list[dict[str, float]]:
        """The options of each candidate, by number."""
        values = self._values()
        combinations = list(itertools.product(*values.values()))
        if self.random is not None and self.random.candidates < len(combinations):
            drawn = np.random.default_rng(seed).choice(len(combinations), self.random.candidates, replace=False)
            combinations = [combinations[number] for number in sorted(drawn)]
        return [dict(zip(values, combination, strict=True)) for combination in combinations]
