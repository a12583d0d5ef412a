"""The arguments that both regimes of the CPU hand to the kernels in the same form."""

import numpy as np
from numpy.typing import NDArray

from app.training.compilation import frozen
from app.training.engine import Setting
from app.training.problem import Rows

NO_TARGETS = frozen(np.empty((0, 0), np.float32))
NO_LABELS = frozen(np.empty(0, np.int32))

Update = tuple[np.float32, np.float32, np.float32, np.float32, np.float32]


def answers(rows: Rows) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Targets and labels, of which one is empty."""
    y = np.ascontiguousarray(rows.y)
    return (frozen(y), NO_LABELS) if y.ndim == 2 else (NO_TARGETS, frozen(y))


def update_of(setting: Setting) -> Update:
    """The tuple (momentum, along_gradient, along_velocity, l1, l2) of `kernels.step`."""
    along_gradient, along_velocity = setting.directions
    options = setting.options
    return (
        np.float32(options.momentum),
        np.float32(along_gradient),
        np.float32(along_velocity),
        np.float32(options.l1),
        np.float32(options.l2),
    )
