"""The state of a training between two epochs: all that the next epoch depends on besides problem and options.

The permutation of an epoch is a function of (seed, epoch), and so is its learning rate, so that neither is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.training.problem import Parameters


@dataclass(frozen=True, slots=True)
class State:
    """After `epoch` epochs: the parameters, and the velocity that momentum carries over.

    Shapes:  both (d, k) and (k,)
    """

    epoch: int
    parameters: Parameters
    velocity: Parameters

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The state as named arrays, without loss of a bit."""
        return {
            "epoch": np.array([self.epoch], np.int64),
            "weights": self.parameters.weights,
            "bias": self.parameters.bias,
            "weights_velocity": self.velocity.weights,
            "bias_velocity": self.velocity.bias,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The state that `to_arrays` gave."""
        return cls(
            epoch=int(arrays["epoch"][0]),
            parameters=Parameters(arrays["weights"], arrays["bias"]),
            velocity=Parameters(arrays["weights_velocity"], arrays["bias_velocity"]),
        )
