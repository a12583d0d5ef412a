"""How far from an optimum a training has ended: the gradient of the whole objective, penalties included."""

from typing import Any

import numpy as np

from app.training.hyperparameters import Hyperparameters
from app.training.objective import Measured, Objective, packed
from app.training.problem import Parameters, Problem
from app.training.setting import Setting


def optimality(problem: Problem, parameters: Parameters, options: Hyperparameters) -> dict[str, Any]:
    """The Euclidean norm of the gradient over all training rows, in the features as they were trained.

    Where l1 has set a weight to 0, the part of the gradient that l1 holds back does not count.
    """
    plain = options.model_copy(update={"precondition": "none", "learning_rate": 1.0, "early_stopping": None})
    *_, found = Objective(Setting.of(problem, plain), problem.train).at(packed(parameters))
    assert isinstance(found, Measured)
    gradient, weights = found.gradient, parameters.weights.astype(np.float64)
    slopes = gradient[:-1] + options.l2 * weights
    held = np.sign(slopes) * np.maximum(np.abs(slopes) - options.l1, 0)
    gradient[:-1] = np.where(weights == 0, held, slopes + options.l1 * np.sign(weights))
    return {"gradient_norm": float(np.linalg.norm(gradient))}
