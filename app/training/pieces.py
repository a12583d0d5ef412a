"""The arguments that both regimes of the CPU hand to the kernels in the same form."""

import numpy as np
from numpy.typing import NDArray

from app.training import kernels
from app.training.compilation import frozen
from app.training.problem import Rows
from app.training.setting import Setting

MEASURED_ROWS = 1 << 16
"""Rows that are measured by one call."""
NO_TARGETS = frozen(np.empty((0, 0), np.float32))
NO_LABELS = frozen(np.empty(0, np.int32))

Answers = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]
Update = tuple[np.float32, np.float32, np.float32, np.float32]


def answers(rows: Rows, setting: Setting) -> Answers:
    """Targets and labels, of which one is empty, and the weights of the classes."""
    y = np.ascontiguousarray(rows.y)
    weights = np.ones(setting.problem.outputs, np.float32) if setting.class_weights is None else setting.class_weights
    return (frozen(y), NO_LABELS, frozen(weights)) if y.ndim == 2 else (NO_TARGETS, frozen(y), frozen(weights))


def permute(order: NDArray[np.int32], setting: Setting, epoch: int) -> None:
    """Write the epoch's permutation of the training rows: of all rows, or by blocks where they exceed the memory."""
    pages, seed = setting.problem.train.pages, setting.options.seed
    if pages is None:
        kernels.permute(order, seed, epoch)
    else:
        blocks = np.empty(-(-order.size // pages.block_rows), np.int32)
        kernels.permute_by_blocks(order, blocks, seed, epoch, pages.block_rows, pages.group_rows)


def pace(steps: int, setting: Setting) -> int:
    """Steps between two pauses: at most so many that the pages which they touch are borne."""
    pages = setting.problem.train.pages
    return steps if pages is None else max(1, min(steps, pages.stretch // setting.batch_size))


def update_of(setting: Setting) -> Update:
    """The tuple (momentum, along_gradient, along_velocity, threshold) of `kernels.step`."""
    along_gradient, along_velocity = setting.directions
    options = setting.options
    return (
        np.float32(options.momentum or 0),
        np.float32(along_gradient),
        np.float32(along_velocity),
        np.float32(setting.threshold),
    )
