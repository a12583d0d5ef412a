"""Moments: mean and standard deviation of columns that come in blocks, in one pass and without cancellation."""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


class Moments:
    """Count, mean and sum of squared deviations of d columns, joined block by block (Chan et al., 1979)."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean: Matrix = np.zeros(width)
        self.squares: Matrix = np.zeros(width)

    def add(self, block: Matrix) -> None:
        """Take in rows. Shapes: (n, d)."""
        if not len(block):
            return
        mean = block.mean(axis=0)
        squares = ((block - mean) ** 2).sum(axis=0)
        total = self.count + len(block)
        shift = mean - self.mean
        self.squares += squares + shift**2 * (self.count * len(block) / total)
        self.mean += shift * (len(block) / total)
        self.count = total

    def std(self, rows: int | None = None) -> Matrix:
        """The standard deviation; over `rows` rows where all others lie at the mean."""
        return np.asarray(np.sqrt(self.squares / (rows or self.count)))
