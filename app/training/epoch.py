"""What a training yields: an epoch when it is over, a pause within a long one.

A long computation that is part of one yields pauses alone, and returns what it has found.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from app.training.hyperparameters import Hyperparameters
from app.training.problem import Parameters
from app.training.state import State

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training rows.

    The losses are means over rows in the units of the loss, without the penalties; accuracies are in 0…1 and
    None for linear regression. `learning_rate` is that of the epoch's first minibatch. `fit` goes on from `state`.
    `options` are those that held, all defaults settled. In a sweep `candidate` is the number of the one that this
    epoch belongs to, and `leaderboard` has them all, the best first. A search for the optimum says whether it
    has `converged`.
    """

    number: int
    train_loss: float
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    state: State
    options: Hyperparameters
    candidate: int = 0
    leaderboard: list[dict[str, Any]] | None = None
    converged: bool | None = None

    @property
    def parameters(self) -> Parameters:
        """W and b after the epoch, acting on the features."""
        return self.state.model


@dataclass(frozen=True, slots=True)
class Pause:
    """A breath within a long epoch, at least about every 0.2 s, in which the caller may stop."""


PAUSE = Pause()


def uninterrupted(steps: Generator[Pause, None, T]) -> T:
    """What a computation returns, for a caller who has no use for its pauses."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found
