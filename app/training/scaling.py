"""Coordinates for a search: features centred and scaled to variance 1, without touching the data.

    x = (raw − mean) / std,   W = V / std,   b = β − mean·W

so that gradients turn as ∂V = (∂W − mean ∂bᵀ) / std and ∂β = ∂b. Centring takes the common direction of all rows,
by far the longest of images, out of the weights. Fashion-MNIST reaches in 40 iterations where it took 100.

A constant feature does what the bias does: its V is 0, and stays so.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.training.problem import Rows

Matrix = NDArray[np.float64]

BLOCK_ENTRIES = 1_000_000
FAINTEST = 0.02
"""Standard deviation, in shares of white, up to which a pixel is scaled as if it had this one: noise, else."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Shapes:  mean (d, 1), std (d, 1), 0 for a constant feature, and its inverse, 0 there too."""

    mean: Matrix
    std: Matrix
    inverse: Matrix

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """The scaling of the rows' features."""
        shift = rows.X[0].astype(np.float64)
        sums, squares = np.zeros(rows.features), np.zeros(rows.features)
        for _, raw in rows.blocks(BLOCK_ENTRIES):
            X = raw - shift
            sums += X.sum(axis=0)
            squares += np.einsum("ij,ij->j", X, X)
        off = sums / rows.count
        variance = np.maximum(squares / rows.count - off**2, 0.0)
        std = np.sqrt(variance) * rows.scale
        constant = variance <= 1e-12 * (squares / rows.count + 1e-300)
        if rows.X.dtype == np.uint8:
            std = np.maximum(std, FAINTEST)
        std, inverse = np.where(constant, 0.0, [std, 1 / np.where(constant, 1.0, std)])
        return cls((shift + off)[:, None] * rows.scale, std[:, None], inverse[:, None])

    def outside(self, phi: Matrix) -> Matrix:
        """[V; β] as [W; b]."""
        weights = phi[:-1] * self.inverse
        return np.vstack([weights, phi[-1:] - (self.mean * weights).sum(axis=0)])

    def inside(self, theta: Matrix) -> Matrix:
        """[W; b] as [V; β]."""
        return np.vstack([theta[:-1] * self.std, theta[-1:] + (self.mean * theta[:-1]).sum(axis=0)])

    def gradient(self, gradient: Matrix) -> Matrix:
        """The gradient in [W; b] as that in [V; β]."""
        return np.vstack([(gradient[:-1] - self.mean * gradient[-1]) * self.inverse, gradient[-1:]])
