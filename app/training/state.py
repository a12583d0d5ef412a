"""Where a training stands between two epochs: all that is needed to go on from there with the same bits.

Permutations are functions of (seed, epoch), and learning rates of (options, data, epoch), so neither is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.training.problem import Parameters

MEMORY = "memory."
"""Prefix of the names under which the solver's own arrays are kept."""


@dataclass(frozen=True, slots=True)
class State:
    """The end of an epoch.

    epoch        epochs that are done
    parameters   W and b in the coordinates in which they are trained
    model        W and b that a job which ended here would leave; they act on the features
    velocity     of momentum, None without it
    best_epoch   with early stopping: the epoch whose parameters `model` holds, and the metric there
    memory       arrays of the solver: curvature pairs, the frame of preconditioned features
    """

    epoch: int
    parameters: Parameters
    model: Parameters
    velocity: Parameters | None = None
    best_epoch: int | None = None
    best_value: float | None = None
    memory: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, int | float | None]]:
        """Arrays, as safetensors or npz take them, and scalars, as JSON takes them (floats survive exactly)."""
        arrays = {**_named("", self.parameters)}
        if self.model is not self.parameters:
            arrays |= _named("model_", self.model)
        if self.velocity is not None:
            arrays |= _named("velocity_", self.velocity)
        arrays |= {MEMORY + name: array for name, array in self.memory.items()}
        return arrays, {"epoch": self.epoch, "best_epoch": self.best_epoch, "best_value": self.best_value}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> Self:
        """The state that `to_arrays` described."""
        parameters = _parameters("", arrays)
        assert parameters is not None, "a state holds parameters"
        return cls(
            epoch=int(scalars["epoch"]),
            parameters=parameters,
            model=_parameters("model_", arrays) or parameters,
            velocity=_parameters("velocity_", arrays),
            best_epoch=scalars["best_epoch"],
            best_value=scalars["best_value"],
            memory={name.removeprefix(MEMORY): array for name, array in arrays.items() if name.startswith(MEMORY)},
        )


def _named(prefix: str, parameters: Parameters) -> dict[str, NDArray[np.float32]]:
    return {f"{prefix}weights": parameters.weights, f"{prefix}bias": parameters.bias}


def _parameters(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Parameters | None:
    if f"{prefix}weights" not in arrays:
        return None
    return Parameters(arrays[f"{prefix}weights"], arrays[f"{prefix}bias"])
