"""The training loop: one epoch after the other, each yielded with its losses and parameters.

Whoever iterates records, checkpoints and stops; there is no clock, no database and no callback in here.
The nouns of the seam (Rows, Problem, Parameters, Epoch, Pause, Diverged) can be imported from here too.
"""

import math
from collections.abc import Iterator

import numpy as np

from app.training import cost, exact, kernels, schedules
from app.training.compiled import CompiledEngine
from app.training.engine import RUNNING, TRAIN, VALIDATION, Engine
from app.training.epoch import PAUSE, Epoch, Pause
from app.training.errors import Diverged
from app.training.hyperparameters import Hyperparameters
from app.training.learning_rate import smaller_rate
from app.training.orthant import search
from app.training.patience import is_over, keep_best
from app.training.pieces import pace
from app.training.problem import Parameters, Problem, Rows, ShapeError
from app.training.setting import Setting
from app.training.state import State
from app.training.sweeping import Sweeping
from app.training.team import threads
from app.training.tiled import TiledEngine

__all__ = ["Diverged", "Epoch", "Parameters", "Pause", "Problem", "Rows", "ShapeError", "State", "fit"]

LARGEST_WIDENED = 64 * 2**20
"""Bytes of float32 that pixels may take in the small regime, which widens them once."""


def fit(
    problem: Problem, hyperparameters: Hyperparameters, device: str = "cpu", resume: State | None = None
) -> Iterator[Epoch | Pause]:
    """Train, and yield each epoch when it is over, and pauses within long ones.

    Minimises 1/n · Σ loss(Xᵢ W + b, yᵢ) + ½ l2 ‖W‖² + l1 ‖W‖₁ by minibatch SGD. Every epoch visits each row
    once, in a permutation that is a function of (seed, epoch); the last, smaller minibatch is divided by its
    own size. The same seed on the same device with as many threads gives the same bits, also where a training
    goes on from the state that an earlier epoch left (`resume`).

    Raises:  UnsuitableOption before the first step, where an option does not fit the data
             DeviceFull, DeviceFailed where the device does not hold the training, or fails
             Diverged in the epoch in which the loss or a weight becomes infinite or NaN
    """
    setting = Setting.of(problem, hyperparameters, resume)
    rule = setting.options.early_stopping
    if resume is not None and is_over(rule, resume):
        return
    steps = _solve(setting, device, resume)
    yield from steps if rule is None else keep_best(steps, rule, resume)


def _solve(setting: Setting, device: str, resume: State | None) -> Iterator[Epoch | Pause]:
    """The steps of the solver that the options name."""
    if setting.options.solver == "exact":
        return iter(()) if resume else exact.solve(setting)
    if setting.options.solver == "lbfgs":
        return search(setting, resume).run()
    if setting.options.sweep is not None:
        return Sweeping(setting, resume).run()
    done = resume.epoch if resume else 0
    return run(setting, _engine(setting, device), done)


def run(setting: Setting, engine: Engine, done: int = 0) -> Iterator[Epoch | Pause]:
    """Minibatch SGD on an engine that is ready, after `done` epochs.

    Raises:  DeviceFull, DeviceFailed, Diverged as in `fit`
    """
    problem, options, rate = setting.problem, setting.options, setting.rate
    assert options.lr_schedule is not None, "it is settled"
    steps, epochs = -(-problem.train.count // setting.batch_size), options.epochs or 0
    last_finite = setting.model_of(engine.report().parameters)
    for number in range(done + 1, epochs + 1):
        if number == done + 1 or options.lr_schedule.type != "constant":
            rates = schedules.rates(options.lr_schedule, rate, number, epochs, steps)
            step_rates = rates.astype(np.float32)
        engine.begin(number)
        for first in range(0, steps, engine.pace):
            if first:
                yield PAUSE
            last = min(first + engine.pace, steps)
            engine.descend(first, last, step_rates)
            problem.train.passed((last - first) * setting.batch_size)
        yield from _measurements(setting, engine)
        epoch = _epoch(setting, engine, number, float(rates[0]))
        if not _finite(epoch):
            to_try = smaller_rate(options, problem.train, rate, setting.class_weights)
            raise Diverged(number, last_finite, to_try, options)
        last_finite = epoch.parameters
        yield epoch


def _engine(setting: Setting, device: str) -> Engine:
    """The engine for the device, and on the CPU for the size of the problem."""
    problem = setting.problem
    shape = cost.Shape(problem.train.features, problem.outputs, setting.batch_size)
    if device != "cpu":
        from app.training.cuda import CudaEngine

        return CudaEngine(setting, device)
    steps = pace(cost.steps_between_pauses(shape), setting)
    if cost.small(shape, threads()) and _widened_bytes(problem) <= LARGEST_WIDENED:
        return CompiledEngine(setting, steps)
    return TiledEngine([setting], steps, cost.members(shape, threads()))


def _widened_bytes(problem: Problem) -> int:
    """Bytes that the small regime would need for pixels as float32."""
    splits = [rows.X for rows in (problem.train, problem.validation) if rows is not None]
    return sum(4 * X.size for X in splits if X.dtype == np.uint8)


def _measurements(setting: Setting, engine: Engine) -> Iterator[Pause]:
    """Measure what is not accumulated on the way, with pauses as in the steps."""
    block = engine.pace * setting.batch_size
    if setting.options.train_metrics == "full":
        yield from _measure(engine, TRAIN, setting.problem.train, block)
    if setting.problem.validation is not None:
        yield from _measure(engine, VALIDATION, setting.problem.validation, block)


def _measure(engine: Engine, split: int, rows: Rows, block: int) -> Iterator[Pause]:
    for start in range(0, rows.count, block):
        if start:
            yield PAUSE
        engine.measure(split, start, min(start + block, rows.count))
        rows.passed(block)


def _epoch(setting: Setting, engine: Engine, number: int, rate: float) -> Epoch:
    """What the engine measured, as means over the rows."""
    report, problem = engine.report(), setting.problem
    totals, count = report.totals.tolist(), problem.train.count
    train_loss, train_accuracy = totals[RUNNING if setting.options.train_metrics == "running" else TRAIN]
    train_loss, train_accuracy = train_loss / count, train_accuracy / count
    validation: tuple[float | None, float | None] = None, None
    if problem.validation is not None:
        validation_loss, validation_accuracy = totals[VALIDATION]
        validation = validation_loss / problem.validation.count, validation_accuracy / problem.validation.count
    classes = setting.options.model == "softmax"
    return Epoch(
        number=number,
        train_loss=train_loss,
        train_accuracy=train_accuracy if classes else None,
        validation_loss=validation[0],
        validation_accuracy=validation[1] if classes else None,
        learning_rate=rate,
        state=setting.state(number, report.parameters, report.velocity),
        options=setting.options,
    )


def _finite(epoch: Epoch) -> bool:
    """Whether the losses and every parameter are finite numbers."""
    parameters = epoch.state.parameters
    return (
        math.isfinite(epoch.train_loss)
        and math.isfinite(epoch.validation_loss or 0)
        and bool(kernels.finite(parameters.weights.ravel()))
        and bool(kernels.finite(parameters.bias))
    )
