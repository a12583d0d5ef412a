"""Class weights: a row's loss counts with the weight of its class; the mean still divides by the number of rows."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.training.errors import UnsuitableOption
from app.training.problem import Problem


def resolve(given: Mapping[str, float] | Literal["balanced"] | None, problem: Problem) -> NDArray[np.float32] | None:
    """The weight of each class (k,); None where all are 1.

    balanced: n / (k · n_c), so that every class counts the same; a class without a row gets 1. By name: classes
    that are not named have 1.

    Raises:  UnsuitableOption if a class is named that the problem does not have
    """
    if given is None:
        return None
    if given == "balanced":
        counts = np.bincount(problem.train.y, minlength=problem.outputs)
        weights = problem.train.count / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return np.where(counts > 0, weights, 1.0).astype(np.float32)
    names = problem.classes or tuple(str(number) for number in range(problem.outputs))
    strangers = [name for name in given if name not in names]
    if strangers:
        raise UnsuitableOption(f"class_weights.{strangers[0]}", f"there is no class {strangers[0]!r}")
    return np.array([given.get(name, 1.0) for name in names], np.float32)
