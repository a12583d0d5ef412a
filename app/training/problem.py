"""What is trained on and what comes out: plain NumPy arrays, whatever the device."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.training.paging import MEMORY_BYTES, Pages

FEATURE_TYPES = (np.float32, np.uint8)


class ShapeError(ValueError):
    """Features, targets and outputs disagree in shape, type or range."""


@dataclass(frozen=True)
class Rows:
    """Features and answers of one split; the features are X·scale.

    A mapped X of more than `memory_bytes` is never resident as a whole: see `paging`.

    Shapes:  X (n, d), C-contiguous float32 or uint8, may be a read-only memory map
             y (n, k) float32 for linear, (n,) int32 index of the class for softmax
    Raises:  ShapeError
    """

    X: NDArray[Any]
    y: NDArray[Any]
    scale: float = 1.0
    memory_bytes: int = MEMORY_BYTES

    def __post_init__(self) -> None:
        if self.X.ndim != 2 or self.X.dtype not in FEATURE_TYPES or not self.X.flags.c_contiguous:
            raise ShapeError("features must be a C-contiguous (n, d) matrix of float32 or uint8")
        dimensions = {np.dtype(np.float32): 2, np.dtype(np.int32): 1}
        if dimensions.get(self.y.dtype) != self.y.ndim:
            raise ShapeError("answers must be (n, k) float32 or (n,) int32")
        if len(self.X) != len(self.y) or not len(self.y):
            raise ShapeError(f"{len(self.X)} rows of features and {len(self.y)} answers")

    @property
    def count(self) -> int:
        """The number of rows, n."""
        return len(self.X)

    @property
    def features(self) -> int:
        """The number of features, d."""
        return int(self.X.shape[1])

    @cached_property
    def pages(self) -> Pages | None:
        """The pages of X, where it is too large to be resident as a whole."""
        return Pages.of(self.X, self.memory_bytes)

    def passed(self, rows: int) -> None:
        """Note that so many rows of X were read, so that their pages can go in time."""
        if self.pages is not None:
            self.pages.passed(rows)

    def blocks(self, entries: int) -> Iterator[tuple[slice, NDArray[Any]]]:
        """X as it is, without its scale, in blocks of about so many numbers, each with its place."""
        size = max(1, entries // self.features)
        for start in range(0, self.count, size):
            chosen = slice(start, min(start + size, self.count))
            yield chosen, self.X[chosen]
            self.passed(chosen.stop - start)

    def draw(self, stride: int) -> NDArray[np.int64]:
        """The places of one row of every `stride` rows, drawn at random: what comes round again would hide from a grid.

        The same ones whenever it is asked.
        """
        starts = np.arange(0, self.count, stride)
        if stride == 1:
            return starts
        lengths = np.minimum(stride, self.count - starts)
        return starts + (np.random.default_rng(0).random(len(starts)) * lengths).astype(np.int64)

    def taken(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """Rows of X at places in ascending order."""
        if self.pages is None:
            return self.X if len(places) == self.count else self.X[places]
        found = []
        for chosen, X in self.blocks(self.pages.block_rows * self.features):
            first, last = np.searchsorted(places, (chosen.start, chosen.stop))
            found.append(X[places[first:last] - chosen.start])
        return np.concatenate(found)


@dataclass(frozen=True)
class Problem:
    """The rows to train on, those to validate on, and k, the number of outputs (targets, or classes).

    classes   their names, where options may name them
    start     parameters to begin with instead of drawn ones; they act on the features

    Raises:  ShapeError if a split has another width, or answers outside the k outputs
    """

    train: Rows
    validation: Rows | None
    outputs: int
    classes: tuple[str, ...] | None = None
    start: "Parameters | None" = None

    def __post_init__(self) -> None:
        for rows in (self.train, self.validation or self.train):
            if rows.features != self.train.features or rows.y.dtype != self.train.y.dtype:
                raise ShapeError("the splits have different features or answers")
            self._check_answers(rows.y)

    def _check_answers(self, y: NDArray[Any]) -> None:
        if y.ndim == 2 and y.shape[1] != self.outputs:
            raise ShapeError(f"{y.shape[1]} targets for {self.outputs} outputs")
        if y.ndim == 1 and not 0 <= int(y.min()) <= int(y.max()) < self.outputs:
            raise ShapeError(f"class indices must be in 0…{self.outputs - 1}")


@dataclass(frozen=True, slots=True)
class Parameters:
    """W and b of ŷ = Xw + b, or of the logits.

    Shapes:  weights (d, k), bias (k,), float32; float64 where a frame is folded or a solver is exact
    """

    weights: NDArray[Any]
    bias: NDArray[Any]
