"""What a model keeps of its training rows, measured once at the end of a job.

Means and ranges cost one pass. The uncertainty of a linear model, where it has one, costs the Gram matrix in float64:

    G = Z̃ᵀZ̃,  Z̃ = [Z, 1] as trained      C = G⁺, from the eigenvectors of G scaled to a unit diagonal
    σ² = Σ (y − ŷ)² / (n − rank)          ŷ of the model as trained, at the optimum or not
    θ* − θ = C Z̃ᵀ(y − ŷ)                  what separates the trained coefficients from those of least squares

Raw coefficients are a linear map A of the trained ones (it is what `Encoding.fold` does), so theirs is A C Aᵀ.
"""

import numpy as np
from numpy.typing import NDArray

from app.datasets.encoding import Encoding
from app.models.statistics import Matrix, Statistics, Uncertainty
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Parameters, Rows

BLOCK_ROWS = 8192
MOST_FEATURES = 500
MOST_WORK = 2e10
"""n · p²: about half a second of float64 products on two cores."""
_SHORT = 1e-10


def statistics(rows: Rows, encoding: Encoding, options: Hyperparameters, parameters: Parameters) -> Statistics:
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
    return Statistics(mean, low, high, _uncertainty(rows, encoding, parameters) if _has_any(rows, options) else None)


def _has_any(rows: Rows, options: Hyperparameters) -> bool:
    """Only least squares without a penalty has a covariance to tell, and only while it is cheap."""
    plain = options.loss in ("squared", "mse") and not options.l1 and not options.l2
    return plain and rows.features <= MOST_FEATURES and rows.count * (rows.features + 1) ** 2 <= MOST_WORK


def _uncertainty(rows: Rows, encoding: Encoding, parameters: Parameters) -> Uncertainty | None:
    gram, pull, squares = _moments(rows, parameters)
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    kept = values > _SHORT * values[-1]
    degrees = rows.count - int(kept.sum())
    if degrees < 1:
        return None
    basis = vectors[:, kept] / scale[:, None]
    inverse = (basis / values[kept]) @ basis.T
    raw = _folding(encoding)
    inverse_gram = raw @ inverse @ raw.T
    variance = squares / degrees
    errors = np.sqrt(np.outer(np.maximum(np.diag(inverse_gram), 0.0), variance))
    distance = _distance(raw @ inverse @ pull, errors)
    errors[~_is_told(raw / scale, vectors[:, kept])] = np.nan
    counts = np.array([float(rows.count)]), np.array([float(degrees)])
    return Uncertainty(inverse_gram, variance, errors, *counts, np.array([distance]))


def _moments(rows: Rows, parameters: Parameters) -> tuple[Matrix, Matrix, Matrix]:
    """Z̃ᵀZ̃, Z̃ᵀr and Σr², r = y − ŷ."""
    p, outputs = rows.features + 1, parameters.weights.shape[1]
    gram, pull, squares = np.zeros((p, p)), np.zeros((p, outputs)), np.zeros(outputs)
    theta = np.vstack([parameters.weights, parameters.bias]).astype(np.float64)
    for chosen, block in rows.blocks(BLOCK_ROWS * rows.features):
        Z = np.hstack([block * np.float64(rows.scale), np.ones((len(block), 1))])
        residuals = rows.y[chosen] - Z @ theta
        gram += Z.T @ Z
        pull += Z.T @ residuals
        squares += (residuals**2).sum(axis=0)
    return gram, pull, squares


def _folding(encoding: Encoding) -> Matrix:
    """A: how trained coefficients, the bias last, become raw ones. Shapes: (p, p)."""
    columns = len(encoding.names)
    identity = np.eye(columns + 1)
    return np.vstack(encoding.fold_features(identity[:columns], identity[columns]))


def _distance(step: Matrix, errors: Matrix) -> float:
    """The farthest coefficient, in standard errors."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.abs(step) / errors
    return float(np.nan_to_num(ratios, nan=0.0, posinf=0.0).max(initial=0.0))


def _is_told(functionals: Matrix, basis: Matrix) -> NDArray[np.bool_]:
    """Whether the data determine a coefficient: it has no part outside the directions that the rows span."""
    outside = functionals - functionals @ basis @ basis.T
    told: NDArray[np.bool_] = np.linalg.norm(outside, axis=1) <= 1e-6 * np.linalg.norm(functionals, axis=1)
    return told
