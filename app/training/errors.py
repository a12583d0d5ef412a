"""What can go wrong in training. Plain errors: whoever runs a training says what they mean to a client.

TrainingError
├── UnsuitableOption       an option that does not fit the data
├── DeviceUnavailable      the device asked for is not in this machine
├── DeviceFull             the device has no memory left for the training
├── DeviceFailed           the device has failed, and this process can use it no more
└── Diverged               the loss or a weight became infinite or NaN
"""

from app.training.hyperparameters import Hyperparameters
from app.training.problem import Parameters


class TrainingError(Exception):
    """Anything this room raises on purpose."""


class UnsuitableOption(TrainingError):
    """An option that does not fit the data: its name, and what is wrong with it."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(f"{option}: {message}")
        self.option = option
        self.message = message


class DeviceUnavailable(TrainingError):
    """The device asked for is not in this machine."""


class DeviceFull(TrainingError):
    """The device has no memory left for the training."""


class DeviceFailed(TrainingError):
    """The device has failed, and this process can use it no more."""


class Diverged(TrainingError):
    """The loss or a weight became infinite or NaN.

    epoch                  the epoch in which that happened, from 1
    parameters             those before that epoch, the last that are finite; with early stopping the best
    learning_rate_to_try   a smaller rate, safe by the smoothness of the data
    options                those that held, all defaults settled
    """

    def __init__(
        self, epoch: int, parameters: Parameters, learning_rate_to_try: float, options: Hyperparameters
    ) -> None:
        super().__init__(f"diverged in epoch {epoch}; try the learning rate {learning_rate_to_try:g}")
        self.epoch = epoch
        self.parameters = parameters
        self.learning_rate_to_try = learning_rate_to_try
        self.options = options
