"""The optimum of the objective that a training had, found afterwards in float64, from where it has ended.

    gap = objective(trained) − objective(optimum),  objective = mean loss + ½ l2 ‖W‖² + l1 Σ|W|  over the training rows

Least squares of a moderate width has its optimum in closed form. Else L-BFGS goes there: first as a training by
`lbfgs` would, preconditioned where that helps and in float32 where the data is large, then in float64.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np

from app.training import exact
from app.training.epoch import PAUSE, Epoch, Pause
from app.training.fit import fit
from app.training.hyperparameters import Hyperparameters
from app.training.learning_rate import CURVATURES
from app.training.objective import Measured, Objective, is_quick, packed
from app.training.orthant import search
from app.training.problem import Parameters, Problem
from app.training.setting import Setting
from app.training.whitening import Frame

WIDEST = 1000
"""Features whose normal equations are solved: about half a second."""
MOST_ITERATIONS = 1000
STILL = 1e-10
"""Relative gain of an iteration in float64 below which the optimum of large data is found."""


@dataclass(frozen=True, slots=True)
class Objectives:
    """The objective of the trained parameters and at the optimum.

    slope   norm of the gradient at the optimum that was found; were the optimum exact, 0
    """

    trained: float
    optimum: float
    slope: float

    @property
    def gap(self) -> float:
        """How far above the optimum the training has ended."""
        return max(0.0, self.trained - self.optimum)


def objectives(problem: Problem, parameters: Parameters, options: Hyperparameters) -> Iterator[Pause | Objectives]:
    """Pauses, then what was found. `options` are those of one training, all defaults settled."""
    trained, _ = yield from _measured(problem, parameters, options)
    is_quadratic = options.loss in ("squared", "mse") and not options.l1
    if is_quadratic and problem.train.features <= WIDEST:
        best = yield from exact.least_squares(problem.train, options.l2 / CURVATURES[str(options.loss)])
    else:
        best = yield from _searched(problem, parameters, options)
    optimum, slope = yield from _measured(problem, best, options)
    yield Objectives(trained, min(trained, optimum), slope)


def gradient_norm(found: Measured, parameters: Parameters, options: Hyperparameters) -> float:
    """The Euclidean norm of the whole objective's gradient, in the features as they were trained.

    Where l1 has set a weight to 0, the part of the gradient that l1 holds back does not count.
    """
    gradient, weights = found.gradient.copy(), parameters.weights.astype(np.float64)
    slopes = gradient[:-1] + options.l2 * weights
    held = np.sign(slopes) * np.maximum(np.abs(slopes) - options.l1, 0)
    gradient[:-1] = np.where(weights == 0, held, slopes + options.l1 * np.sign(weights))
    return float(np.linalg.norm(gradient))


def plain(problem: Problem, options: Hyperparameters) -> Setting:
    """The setting of an objective without a frame, whatever the solver was."""
    update = {"precondition": "none", "learning_rate": 1.0, "early_stopping": None, "sweep": None}
    return Setting.of(problem, options.model_copy(update=update))


def _measured(
    problem: Problem, parameters: Parameters, options: Hyperparameters
) -> Generator[Pause, None, tuple[float, float]]:
    """The objective and the norm of its gradient, summed in float64."""
    found = yield from Objective(plain(problem, options), problem.train, precise=True).at(packed(parameters))
    weights = parameters.weights.astype(np.float64)
    penalty = options.l2 / 2 * float((weights**2).sum()) + options.l1 * float(np.abs(weights).sum())
    return found.loss + penalty, gradient_norm(found, parameters, options)


def _searched(problem: Problem, parameters: Parameters, options: Hyperparameters) -> Generator[Pause, None, Parameters]:
    update = {"solver": "lbfgs", "epochs": MOST_ITERATIONS, "early_stopping": None, "sweep": None}
    searching = options.model_copy(update={**update, "precondition": "auto"})
    state = None
    for step in fit(_from(problem, parameters), searching):
        if isinstance(step, Epoch):
            state = step.state
        yield PAUSE
    assert state is not None, "a search has an iteration"
    searching = searching.model_copy(update={"epochs": state.epoch + MOST_ITERATIONS, "precondition": "none"})
    # Without a frame the search goes on with the curvature that it has seen.
    resume = state if Frame.from_arrays(state.memory) is None else None
    setting = Setting.of(_from(problem, state.model), searching, resume)
    best = state.model
    still = None if is_quick(problem.train) else STILL
    for step in search(setting, resume, precise=True, still=still).run():
        if isinstance(step, Epoch):
            best = step.parameters
        yield PAUSE
    return best


def _from(problem: Problem, parameters: Parameters) -> Problem:
    return Problem(problem.train, None, problem.outputs, problem.classes, start=parameters)
