"""How far from an optimum a training has ended: the gradient of the whole objective, penalties included."""

from typing import Any

from app.training.epoch import uninterrupted
from app.training.hyperparameters import Hyperparameters
from app.training.objective import Objective, packed
from app.training.optimum import Objectives, gradient_norm, plain
from app.training.problem import Parameters, Problem


def optimality(
    problem: Problem, parameters: Parameters, options: Hyperparameters, found: Objectives | None = None
) -> dict[str, Any]:
    """The norm of the gradient over all training rows, and the gap to the optimum, if that was sought and found."""
    measured = uninterrupted(Objective(plain(problem, options), problem.train).at(packed(parameters)))
    near: dict[str, Any] = {"gradient_norm": gradient_norm(measured, parameters, options)}
    if found is not None:
        near |= {
            "objective": found.trained,
            "optimum": found.optimum,
            "gap": found.gap,
            "optimum_gradient_norm": found.slope,
        }
    return near
