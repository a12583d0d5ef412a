"""L-BFGS with an l1 penalty, orthant by orthant (OWL-QN).

Andrew and Gao, "Scalable training of L1-regularized log-linear models", 2007. Within an orthant the penalty is linear:
there the direction comes from the curvature of the loss alone, and whatever a step would carry across a boundary
stays on it, at exactly 0.

    ⋄ᵢ = gᵢ + cᵢ sign(φᵢ)                                  φᵢ ≠ 0
    ⋄ᵢ = sign(gᵢ) max(|gᵢ| − cᵢ, 0)                        φᵢ = 0: the slope out of the kink, 0 where it holds

The penalty l1 Σ|W| is Σ cᵢ|φᵢ| in the search's coordinates, c = l1 / std (see `scaling`), and 0 for the bias.
"""

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from app.training.epoch import Pause
from app.training.lbfgs import LONGER, SUFFICIENT, TRIALS, Matrix, Point, Search
from app.training.setting import Setting
from app.training.state import State


class OrthantSearch(Search):
    """The iterations on a problem with an l1 penalty."""

    def __init__(
        self, setting: Setting, resume: State | None = None, precise: bool | None = None, still: float | None = None
    ) -> None:
        super().__init__(setting, resume, precise, still)
        self._costs = np.append(setting.options.l1 * self._scaling.inverse, [[0.0]], axis=0)

    def _slopes(self, point: Point) -> Matrix:
        gradient, phi = point.gradient, point.phi
        held = np.sign(gradient) * np.maximum(np.abs(gradient) - self._costs, 0.0)
        return np.asarray(np.where(phi == 0, held, gradient + self._costs * np.sign(phi)))

    def _at(self, phi: Matrix) -> Generator[Pause, None, Point]:
        point = yield from super()._at(phi)
        return replace(point, value=point.value + float((self._costs * np.abs(phi)).sum()))

    def _improved(self, point: Point) -> Generator[Pause, None, tuple[Point, float]]:
        slopes = self._slopes(point)
        direction = -self._turned(slopes)
        direction[direction * slopes > 0] = 0.0
        orthant = np.where((point.phi == 0) & (self._costs > 0), -np.sign(slopes), np.sign(point.phi))
        free = np.broadcast_to(self._costs == 0, point.phi.shape)
        best, reached = point, 0.0
        length = self._first_length(slopes)
        for _ in range(TRIALS):
            phi = point.phi + length * direction
            with np.errstate(over="ignore", invalid="ignore"):
                trial = yield from self._at(np.where(free | (np.sign(phi) == orthant), phi, 0.0))
            promised = float((slopes * (trial.phi - point.phi)).sum())
            if trial.value <= point.value + SUFFICIENT * promised and trial.value <= best.value:
                best, reached = trial, length
                if self._steps or reached < self._first_length(slopes):
                    break
                length *= LONGER  # as long as it pays, since no curvature is known yet
            elif reached:
                break
            else:
                length *= 0.5
        return best, reached


def search(
    setting: Setting, resume: State | None = None, precise: bool | None = None, still: float | None = None
) -> Search:
    """The search that suits the penalties."""
    return (OrthantSearch if setting.options.l1 else Search)(setting, resume, precise, still)
