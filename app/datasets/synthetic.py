"""Synthetic datasets, as *Dive into Deep Learning* makes them: the truth behind them is known and kept.

The truth is the whole recipe, so that a set can be made again from what is told of it, and what follows from that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.datasets.readers.content import Content, table_content

Matrix = NDArray[np.float64]

LARGEST = 3e38
"""A number of a dataset may be hardly larger; below it nothing that is computed here overflows."""
LEAST_NOISE_STD = 1e-100
"""But none at all. The true weights are divided by its square: of a smaller one no number would hold them."""
LARGEST_TRUTH = 1_000_000
"""Weights that the truth of a softmax set may have: they are kept beside the dataset, and sent with it."""


@dataclass(frozen=True)
class SyntheticLinear:
    """y = Xw + b + ε, with X ~ N(feature_mean, feature_std²) and ε ~ N(0, noise_std²); d2l §3.3."""

    weights: Sequence[float]
    bias: float
    rows: int
    feature_mean: float = 0.0
    feature_std: float = 1.0
    noise_std: float = 0.01
    seed: int = 0

    def content(self) -> Content:
        """Columns `x1…xd` and the target `y`."""
        generator = np.random.default_rng(self.seed)
        X = generator.normal(self.feature_mean, self.feature_std, (self.rows, len(self.weights)))
        y = X @ np.asarray(self.weights, np.float64) + self.bias + generator.normal(0.0, self.noise_std, self.rows)
        truth = {"type": "synthetic_linear", **asdict(self)}
        return table_content(pa.table({**_features(X), "y": y}), target="y", truth=truth)


@dataclass(frozen=True)
class SyntheticSoftmax:
    """One cloud N(μ_c, noise_std²·I) for each class, in equal numbers.

    The centres are drawn from N(0, 1), moved to mean zero and scaled so that the mean distance between two of
    them is `separation`. With equal class probabilities the posterior of these clouds is a softmax of linear
    functions, w_c = μ_c / σ² and b_c = −‖μ_c‖² / 2σ², which is the truth that a trained model approaches.
    """

    classes: int
    features: int
    rows: int
    separation: float = 2.0
    noise_std: float = 1.0
    seed: int = 0

    def content(self) -> Content:
        """Columns `x1…xd` and the target `label`, with classes `0…k-1`."""
        generator = np.random.default_rng(self.seed)
        centres = _centres(generator, self.classes, self.features, self.separation)
        labels = generator.permutation(np.arange(self.rows) % self.classes)
        X = centres[labels] + generator.normal(0.0, self.noise_std, (self.rows, self.features))
        columns = {**_features(X), "label": pa.array([str(label) for label in labels], pa.string())}
        return table_content(pa.table(columns), target="label", truth=self._truth(centres))

    def _truth(self, centres: Matrix) -> Mapping[str, Any]:
        truth = {"type": "synthetic_softmax", **asdict(self), "centres": centres.tolist()}
        if not self.noise_std:
            return truth
        weights, bias = posterior(centres, self.noise_std)
        return truth | {"weights": weights.tolist(), "bias": bias.tolist()}


def posterior(centres: Matrix, noise_std: float) -> tuple[Matrix, Matrix]:
    """Weights and bias of the softmax that gives the class of a point. Shapes: (k, d) → (d, k), (k,)."""
    return centres.T / noise_std**2, -(centres**2).sum(axis=1) / (2 * noise_std**2)


def _features(X: Matrix) -> dict[str, Matrix]:
    return {f"x{number}": np.ascontiguousarray(column) for number, column in enumerate(X.T, 1)}


def _centres(generator: np.random.Generator, classes: int, features: int, separation: float) -> Matrix:
    centres = generator.normal(size=(classes, features))
    centres -= centres.mean(axis=0)
    # Centre by centre: all differences at once would be classes² · features numbers.
    distances = np.sqrt([((centres - centre) ** 2).sum(axis=-1) for centre in centres])
    mean_distance = distances.sum() / (classes * (classes - 1))
    scaled: Matrix = centres * (separation / mean_distance)
    return scaled
