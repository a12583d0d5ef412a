"""What a model remembers of its training rows: means, ranges, and of a linear model what its uncertainty takes.

All of it is in raw design columns, the units that the weights act on. It lies in the weights' safetensors file:

    mean, minimum, maximum     (d,)        of each design column; contributions and drift are measured against them
    inverse_gram               (p, p)      (X̃ᵀX̃)⁺ of the columns and a last one of ones: p = d + 1
    residual_variance          (k,)        Σ (y − ŷ)² / degrees_of_freedom, of the model as trained
    standard_errors            (p, k)      of those of least squares; not a number where the data cannot tell it
    rows                       (1,)        of X̃
    degrees_of_freedom         (1,)        rows − rank of X̃
    distance                   (1,)        how far the weights are from least squares, in standard errors
    to_least_squares           (p, k)      what separates weights and bias from those of least squares
    null_space                 (d, r)      weights that change no prediction of a training row, up to the bias: columns
                                           that depend on each other, or are constant; absent where there are none

Models that were saved by an earlier version lack the last two, and count as at least squares and without such columns.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Uncertainty:
    """The covariance of a linear model's coefficients: residual_variance · inverse_gram for each output."""

    inverse_gram: Matrix
    residual_variance: Matrix
    standard_errors: Matrix
    rows: Matrix
    degrees_of_freedom: Matrix
    distance: Matrix
    to_least_squares: Matrix | None = None
    null_space: Matrix | None = None

    def tensors(self) -> dict[str, Matrix]:
        """By name, those that there are."""
        return {name: tensor for name, tensor in vars(self).items() if tensor is not None}


@dataclass(frozen=True)
class Statistics:
    """Means and ranges of the training rows, and the uncertainty where there is one."""

    mean: Matrix
    minimum: Matrix
    maximum: Matrix
    uncertainty: Uncertainty | None = None

    def tensors(self) -> dict[str, Matrix]:
        """By name, as they stand in a file."""
        own = {"mean": self.mean, "minimum": self.minimum, "maximum": self.maximum}
        return own | (self.uncertainty.tensors() if self.uncertainty is not None else {})

    @classmethod
    def of(cls, tensors: Mapping[str, Matrix]) -> Self | None:
        """Those of a file, or None where it has none."""
        names = ("mean", "minimum", "maximum")
        if not all(name in tensors for name in names):
            return None
        parts = {field.name: tensors[field.name] for field in fields(Uncertainty) if field.name in tensors}
        needed = [field.name for field in fields(Uncertainty) if field.default is MISSING]
        uncertainty = Uncertainty(**parts) if all(name in parts for name in needed) else None
        mean, minimum, maximum = (tensors[name] for name in names)
        return cls(mean, minimum, maximum, uncertainty)

    @property
    def bytes(self) -> int:
        """What it occupies in memory."""
        return sum(tensor.nbytes for tensor in self.tensors().values())


def shapes(features: int, outputs: int, undetermined: int = 1) -> dict[str, tuple[int, ...]]:
    """The shape that each tensor has in a model of so many design columns and outputs.

    undetermined   directions that the null space has, 1 or more
    """
    p = features + 1
    return {
        "mean": (features,), "minimum": (features,), "maximum": (features,),
        "inverse_gram": (p, p), "residual_variance": (outputs,), "standard_errors": (p, outputs),
        "rows": (1,), "degrees_of_freedom": (1,), "distance": (1,),
        "to_least_squares": (p, outputs), "null_space": (features, undetermined),
    }  # fmt: skip
