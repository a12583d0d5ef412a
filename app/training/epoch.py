"""What a training yields: an epoch when it is over, a pause within a long one."""

from dataclasses import dataclass

from app.training.problem import Parameters


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training rows.

    The losses are means over rows in the units of the loss, without the penalties; accuracies are in 0…1 and
    None for linear regression. `learning_rate` is that of the epoch's first minibatch.
    """

    number: int
    train_loss: float
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Pause:
    """A breath within a long epoch, at least about every 0.2 s, in which the caller may stop."""
