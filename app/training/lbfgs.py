"""Limited-memory BFGS: quasi-Newton iterations over all rows, down to the optimum.

Nocedal and Wright, "Numerical Optimization", 2006, algorithm 7.4 with the last 10 pairs of steps and gradient
changes; steps are halved (or cut by a parabola through what is known) until the objective falls enough (Armijo), and
lengthened while it still falls as steeply as before (Wolfe), so that no unit of the target is too large for them.
All losses here are convex, so that a pair with positive curvature is the rule, and others are left out.

With an l1 penalty the search goes orthant-wise: see `orthant`.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.training.epoch import Epoch, Pause
from app.training.objective import Measured, Objective, packed, row_slope, unpacked
from app.training.scaling import Scaling
from app.training.setting import Setting
from app.training.state import State

Matrix = NDArray[np.float64]

PAIRS = 10
SUFFICIENT = 1e-4
"""Share of the slope's promise that a step must keep (Armijo)."""
FLATTER = 0.9
"""Share of the slope that may be left after a step (Wolfe): where it is more, the step was too short."""
LONGER = 10.0
"""By what a step that was too short is lengthened."""
TRIALS = 30
FLAT = {True: 1e-9, False: 2e-6}
"""Largest entry of the gradient at which it is over, in units of the first one, or of the usual one where that is less;
by whether sums are precise."""
STILL = {True: 1e-15, False: 1e-8}
"""Relative gain of an iteration below which it is over, if the gradient is low too."""
LOW = {True: 1e-6, False: 1e-3}
"""Largest entry of the gradient that is low, by whether sums are precise, in units of the first or of row slopes."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where the search stands: the objective there, penalty included, and its gradient in the search's coordinates.

    phi are those coordinates (see `scaling`), theta = [W; b].
    """

    phi: Matrix
    theta: Matrix
    value: float
    gradient: Matrix
    measured: Measured


class Search:
    """The iterations on one problem; `precise` as in `Objective`, `still` in place of STILL."""

    def __init__(
        self, setting: Setting, resume: State | None = None, precise: bool | None = None, still: float | None = None
    ) -> None:
        self._setting = setting
        self._objective = Objective(setting, setting.problem.train, precise)
        self._still = STILL[self._objective.precise] if still is None else still
        self._is_hasty, self._was_still = still is not None, False
        validation = setting.problem.validation
        self._validation = None if validation is None else Objective(setting, validation)
        self._decay = setting.decay.astype(np.float64)[:, None]
        memory = resume.memory if resume else {}
        self._steps = list(memory["steps"]) if "steps" in memory else []
        self._changes = list(memory["changes"]) if "changes" in memory else []
        self._first_slope, self._row_slope = map(float, memory.get("slopes", np.zeros(2)))
        self._scaling = Scaling.of(setting.problem.train)
        self._phi = memory["phi"] if "phi" in memory else self._scaling.inside(packed(setting.start))
        self._done = resume.epoch if resume else 0
        self._is_over = precise is None and "is_over" in memory  # in another precision it goes on

    def run(self) -> Iterator[Epoch | Pause]:
        """An epoch for each iteration, until the gradient vanishes or the objective no longer falls."""
        point = yield from self._at(self._phi)
        if not self._first_slope:
            self._first_slope = max(min(float(np.abs(self._slopes(point)).max()), self._usual_slope()), 1e-300)
            self._row_slope = row_slope(self._setting.options.loss, point.measured.loss)
        for number in range(self._done + 1, (self._setting.options.epochs or 0) + 1):
            if self._is_over:
                return
            before = point
            point, length = yield from self._improved(before)
            self._remember(point.phi - before.phi, point.gradient - before.gradient)
            self._judge(point, before.value - point.value)
            yield (yield from self._epoch(number, point, length))

    def _judge(self, point: Point, gain: float) -> None:
        """Whether it is over: the gradient has vanished, or nothing is gained any more, steepest descent included.

        Where nothing is gained but the gradient is no trifle, the curvature that was seen misleads, and is forgotten.
        A search that takes small gains for none is over after two of them.
        """
        steepness = float(np.abs(self._slopes(point)).max())
        is_flat = steepness <= FLAT[self._objective.precise] * self._first_slope
        is_low = steepness <= LOW[self._objective.precise] * max(self._first_slope, self._row_slope)
        is_still = gain <= self._still * abs(point.value)
        is_done = self._was_still if self._is_hasty else is_low or not self._steps
        if is_flat or (is_still and is_done):
            self._is_over = True
        elif is_still and not self._is_hasty:
            self._steps, self._changes = [], []
        self._was_still = is_still

    def _usual_slope(self) -> float:
        """The gradient at weights of 0 is about this at most: one at drawn weights grows with the features' units."""
        loss, y = self._setting.options.loss, self._setting.problem.train.y
        if y.ndim == 1:
            return 1.0
        variance = float(y.var(axis=0, dtype=np.float64).max())
        return row_slope(loss, variance if loss == "mse" else variance / 2)

    def _slopes(self, point: Point) -> Matrix:
        """What vanishes at the optimum."""
        return point.gradient

    def _at(self, phi: Matrix) -> Generator[Pause, None, Point]:
        """The point at phi."""
        theta = self._scaling.outside(phi)
        found = yield from self._objective.at(theta)
        gradient = found.gradient
        gradient[:-1] += self._decay * theta[:-1]
        value = found.loss + 0.5 * float((self._decay * theta[:-1] ** 2).sum())
        return Point(phi, theta, value, self._scaling.gradient(gradient), found)

    def _improved(self, point: Point) -> Generator[Pause, None, tuple[Point, float]]:
        """The next point and the length of the step there; the same point where none is better."""
        direction = -self._turned(point.gradient)
        slope = float((direction * point.gradient).sum())
        best, reached, too_far = point, 0.0, np.inf
        length = self._first_length(point.gradient)
        for _ in range(TRIALS):
            with np.errstate(over="ignore", invalid="ignore"):
                trial = yield from self._at(point.phi + length * direction)
            if trial.value <= point.value + SUFFICIENT * length * slope:
                best, reached = trial, length
                if float((direction * trial.gradient).sum()) >= FLATTER * slope:
                    break
                length = min(LONGER * length, 0.5 * (length + too_far))
                continue
            too_far = length
            excess = trial.value - point.value - length * slope
            parabola = -0.5 * slope * length * length / excess if np.isfinite(excess) and excess > 0 else 0.0
            length = 0.5 * (reached + length) if reached else min(max(parabola, 0.1 * length), 0.5 * length)
        return best, reached

    def _first_length(self, slopes: Matrix) -> float:
        """The length to try first: a whole step, once there are curvature pairs.

        Before, that is at most 1 over the curvature of a linear model, whose columns have variance 1 here.
        """
        if self._steps or self._setting.options.model == "linear":
            return 1.0
        return min(1.0, 1.0 / max(float(np.abs(slopes).sum()), 1e-300))

    def _turned(self, gradient: Matrix) -> Matrix:
        """The inverse Hessian's estimate times the gradient: the two loops of algorithm 7.4."""
        turned, shares = gradient.copy(), []
        pairs = list(zip(self._steps, self._changes, strict=True))
        for step, change in reversed(pairs):
            share = float((step * turned).sum() / (step * change).sum())
            turned -= share * change
            shares.append(share)
        if pairs:
            step, change = pairs[-1]
            turned *= float((step * change).sum() / (change * change).sum())
        for (step, change), share in zip(pairs, reversed(shares), strict=True):
            turned += step * (share - float((change * turned).sum() / (step * change).sum()))
        return turned

    def _remember(self, step: Matrix, change: Matrix) -> None:
        if float((step * change).sum()) > 1e-14 * float(np.abs(step).max() * np.abs(change).sum()):
            self._steps, self._changes = [*self._steps, step][-PAIRS:], [*self._changes, change][-PAIRS:]

    def _epoch(self, number: int, point: Point, length: float) -> Generator[Pause, None, Epoch]:
        validation: Measured | None = None
        if self._validation is not None:
            validation = yield from self._validation.at(point.theta, gradient=False)
        classes = self._setting.options.model == "softmax"
        return Epoch(
            number=number,
            train_loss=point.measured.loss,
            train_accuracy=point.measured.accuracy if classes else None,
            validation_loss=validation.loss if validation else None,
            validation_accuracy=validation.accuracy if validation and classes else None,
            learning_rate=length,
            state=self._state(number, point),
            options=self._setting.options,
            converged=self._is_over,
        )

    def _state(self, number: int, point: Point) -> State:
        memory = {"phi": point.phi, "slopes": np.array([self._first_slope, self._row_slope])}
        if self._steps:
            memory |= {"steps": np.array(self._steps), "changes": np.array(self._changes)}
        if self._is_over:
            memory |= {"is_over": np.ones(1)}
        return self._setting.state(number, unpacked(point.theta), None, **memory)
