"""The loop of a sweep: each epoch is yielded once for each candidate that is left, the best one last."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.training import cost, learning_rate, schedules
from app.training.engine import RUNNING, TRAIN, VALIDATION
from app.training.epoch import PAUSE, Epoch, Pause
from app.training.errors import Diverged
from app.training.pieces import pace
from app.training.problem import Parameters
from app.training.setting import Setting
from app.training.state import State
from app.training.team import threads
from app.training.tiled import TiledEngine

FIGURES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")


@dataclass(slots=True)
class Candidate:
    """One of a sweep: its options, and how it does."""

    number: int
    given: dict[str, float]
    setting: Setting
    diverged_in: int | None = None
    last: Epoch | None = None
    figures: list[float | None] = field(default_factory=lambda: [None] * len(FIGURES))

    @property
    def value(self) -> float:
        """What candidates are compared by: the validation loss, or the training loss where nothing validates."""
        if self.last is None or self.diverged_in is not None:
            return float("inf")
        return self.last.train_loss if self.last.validation_loss is None else self.last.validation_loss

    def line(self) -> dict[str, Any]:
        """Its line of the leaderboard."""
        measured = dict(zip(FIGURES, self.figures, strict=True))
        options = {**self.given, "learning_rate": self.setting.rate}
        return {"candidate": self.number, "options": options, "diverged_in_epoch": self.diverged_in, **measured}

    def take(self, epoch: Epoch) -> None:
        """Note an epoch that ended well."""
        self.last, self.figures = epoch, [getattr(epoch, name) for name in FIGURES]


class Sweeping:
    """Trains the candidates of a setting together."""

    def __init__(self, setting: Setting, resume: State | None) -> None:
        self._setting = setting
        self._done = resume.epoch if resume else 0
        self._candidates = _candidates(setting, resume)
        shape = cost.Shape(
            setting.problem.train.features, setting.problem.outputs * len(self._candidates), setting.batch_size
        )
        settings = [candidate.setting for candidate in self._candidates]
        self._engine = TiledEngine(settings, pace(_steps(shape), setting), cost.members(shape, threads()))
        for candidate in self._left(diverged=True):
            self._engine.drop(candidate.number)

    def _left(self, diverged: bool = False) -> list[Candidate]:
        return [candidate for candidate in self._candidates if (candidate.diverged_in is not None) == diverged]

    def run(self) -> Iterator[Epoch | Pause]:
        """The epochs after those that are done.

        Raises:  Diverged when no candidate is left
        """
        options, engine = self._setting.options, self._engine
        steps = -(-self._setting.problem.train.count // self._setting.batch_size)
        for number in range(self._done + 1, (options.epochs or 0) + 1):
            rates = self._rates(number, steps)
            engine.begin(number)
            for first in range(0, steps, engine.pace):
                engine.descend(first, min(first + engine.pace, steps), rates)
                self._setting.problem.train.passed(engine.pace * self._setting.batch_size)
                yield PAUSE
            yield from self._measure()
            self._take_stock(number, rates)
            yield from self._epochs(number)

    def _rates(self, number: int, steps: int) -> NDArray[np.float32]:
        options = self._setting.options
        assert options.lr_schedule is not None, "it is settled"
        factors = schedules.rates(options.lr_schedule, 1.0, number, options.epochs or 0, steps)
        rates = np.array([0.0 if c.diverged_in is not None else c.setting.rate for c in self._candidates])
        return np.outer(factors, rates).astype(np.float32)

    def _measure(self) -> Iterator[Pause]:
        problem, block = self._setting.problem, self._engine.pace * self._setting.batch_size
        splits = [(TRAIN, problem.train)] if self._setting.options.train_metrics == "full" else []
        splits += [(VALIDATION, problem.validation)] if problem.validation is not None else []
        for split, rows in splits:
            for start in range(0, rows.count, block):
                self._engine.measure(split, start, min(start + block, rows.count))
                rows.passed(block)
                yield PAUSE

    def _take_stock(self, number: int, rates: NDArray[np.float32]) -> None:
        """Note each candidate's measurements; drop those that diverged."""
        for candidate in self._left():
            epoch = self._epoch(candidate, number, float(rates[0, candidate.number]))
            parameters = epoch.state.parameters
            figures = [epoch.train_loss, epoch.validation_loss or 0.0, *parameters.bias]
            if np.isfinite(figures).all() and np.isfinite(parameters.weights).all():
                candidate.take(epoch)
                continue
            candidate.diverged_in = number
            self._engine.drop(candidate.number)
        if not self._left():
            raise self._divergence(number)

    def _divergence(self, number: int) -> Diverged:
        """Of the slowest; the parameters are those of one that was still there before this epoch."""
        slowest, left = (
            min(candidates, key=lambda candidate: candidate.setting.rate)
            for candidates in (self._candidates, [c for c in self._candidates if c.diverged_in == number])
        )
        parameters = left.last.parameters if left.last else self._setting.model_of(left.setting.start)
        options, rows = slowest.setting.options, self._setting.problem.train
        rate = learning_rate.smaller_rate(options, rows, slowest.setting.rate, self._setting.class_weights)
        return Diverged(number, parameters, rate, self._setting.options)

    def _epoch(self, candidate: Candidate, number: int, rate: float) -> Epoch:
        problem, totals = self._setting.problem, self._engine.totals
        running = self._setting.options.train_metrics == "running"
        train = totals[RUNNING if running else TRAIN, candidate.number] / problem.train.count
        validation = None
        if problem.validation is not None:
            validation = totals[VALIDATION, candidate.number] / problem.validation.count
        classes = self._setting.options.model == "softmax"
        return Epoch(
            number=number,
            train_loss=float(train[0]),
            train_accuracy=float(train[1]) if classes else None,
            validation_loss=None if validation is None else float(validation[0]),
            validation_accuracy=float(validation[1]) if validation is not None and classes else None,
            learning_rate=rate,
            state=self._setting.state(number, self._engine.parameters(candidate.number)),
            options=self._setting.options,
            candidate=candidate.number,
        )

    def _epochs(self, number: int) -> Iterator[Epoch]:
        """Those of this epoch, the best one last; each carries the state of all and the best one's model."""
        ranked = sorted(self._candidates, key=lambda candidate: (candidate.value, candidate.number))
        leaderboard = [candidate.line() for candidate in ranked]
        assert ranked[0].last is not None
        state = replace(self._state(number), model=ranked[0].last.parameters)
        for candidate in reversed(ranked):
            if candidate.diverged_in is None and candidate.last is not None:
                yield replace(candidate.last, state=state, leaderboard=leaderboard)

    def _state(self, number: int) -> State:
        count = len(self._candidates)
        parameters = _stacked([self._engine.parameters(c) for c in range(count)])
        velocity = _stacked([self._engine.velocity(c) for c in range(count)])
        diverged = np.array([candidate.diverged_in or 0 for candidate in self._candidates], np.float64)
        figures = np.array([candidate.figures for candidate in self._candidates], np.float64)  # None becomes NaN
        plain = Setting.state(
            replace(self._setting, frame=None), number, parameters, velocity, diverged=diverged, figures=figures
        )
        frame = {} if self._setting.frame is None else self._setting.frame.to_arrays()
        return replace(plain, memory={**plain.memory, **frame})


def _steps(shape: cost.Shape) -> int:
    return max(1, int(cost.PAUSE_NANOSECONDS / cost.tiled_step(shape)))


def _stacked(all_parameters: list[Parameters]) -> Parameters:
    weights = np.hstack([parameters.weights for parameters in all_parameters])
    return Parameters(weights, np.concatenate([parameters.bias for parameters in all_parameters]))


def _candidates(setting: Setting, resume: State | None) -> list[Candidate]:
    """Each candidate with its own options, rate and start."""
    options, k = setting.options, setting.problem.outputs
    assert options.sweep is not None, "a sweep is asked for"
    found, rates = [], dict[tuple[float | None, float], float]()
    for number, given in enumerate(options.sweep.candidates(options.seed)):
        own = options.model_copy(update={**given, "sweep": None})
        if own.learning_rate == "auto":
            key = own.momentum, own.l2
            if key not in rates:
                rates[key] = learning_rate.safe_rate(own, setting.problem.train, setting.class_weights)
            own = own.model_copy(update={"learning_rate": rates[key]})
        columns = slice(number * k, (number + 1) * k)
        start, velocity = setting.restarted(own), None
        diverged = 0
        if resume is not None and resume.velocity is not None:
            start = Parameters(resume.parameters.weights[:, columns], resume.parameters.bias[columns])
            velocity = Parameters(resume.velocity.weights[:, columns], resume.velocity.bias[columns])
            diverged = int(resume.memory["diverged"][number])
        kept = replace(setting, options=own, start=start, velocity=velocity)
        candidate = Candidate(number, given, kept, diverged_in=diverged or None)
        if diverged and resume is not None and "figures" in resume.memory:
            candidate.figures = [
                None if np.isnan(figure) else float(figure) for figure in resume.memory["figures"][number]
            ]
        found.append(candidate)
    return found
