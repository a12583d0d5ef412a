"""What a model keeps of its training rows: means and ranges in one pass, and the covariance that was found before."""

import numpy as np

from app.datasets.encoding import Encoding
from app.models.statistics import Statistics, Uncertainty
from app.training.covariance import Covariance
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Rows

BLOCK_ROWS = 8192


def statistics(
    rows: Rows, encoding: Encoding, options: Hyperparameters, covariance: Covariance | None = None
) -> Statistics:
    """The statistics of the rows that a model was trained on."""
    total = np.zeros(rows.features)
    low, high = np.full(rows.features, np.inf), np.full(rows.features, -np.inf)
    for _, block in rows.blocks(BLOCK_ROWS * rows.features):
        total += block.sum(axis=0, dtype=np.uint64 if block.dtype == np.uint8 else np.float64)
        low = np.minimum(low, block.min(axis=0))
        high = np.maximum(high, block.max(axis=0))
    mean, low, high = (
        values * rows.scale * encoding.scale + encoding.centre for values in (total / rows.count, low, high)
    )
    if options.standardize is not False and encoding.mean is not None:
        mean = np.asarray(encoding.mean)  # measured in double precision already
    return Statistics(mean, low, high, _uncertainty(rows, covariance) if covariance is not None else None)


def _uncertainty(rows: Rows, found: Covariance) -> Uncertainty:
    count, degrees, distance = (np.array([float(one)]) for one in (rows.count, found.degrees, found.distance))
    return Uncertainty(
        found.inverse_gram, found.variances, found.errors, count, degrees, distance,
        to_least_squares=found.to_least_squares, null_space=found.null_space if found.null_space.size else None,
    )  # fmt: skip
