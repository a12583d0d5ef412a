"""Inference statistics: how sure the coefficients are, where the theory says so.

    linear    Cov(w) = σ² (X̃ᵀX̃)⁻¹,  σ² = RSS / (n − rank),  Student's t       as statsmodels' OLS
    softmax   Cov(w) = F⁻¹, F the Fisher information, z statistics             as statsmodels' MNLogit

Both hold at the optimum of the unpenalised likelihood, which the parameters must have reached: a Newton step from
them may not move any coefficient by more than a hundredth of its standard error. Such steps are taken, in float64,
so that what is told are the digits of the optimum, however a search in float32 has ended. Softmax is determined up to a
common shift of all classes: the first class is the reference, whose weights are 0.

Where classes can be separated there is no optimum: however far a search has gone, a Newton step moves the logits of the
rows in question by about 1 again, and their information vanishes. Standard errors, huge there, do not show it.

Coefficients of columns that depend on each other are not determined, and have no standard error; those of the
other columns do.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.training.exact import NormalEquations
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Parameters, Problem, Rows

Matrix = NDArray[np.float64]

MOST_PARAMETERS = 1000
"""Rows of the Fisher information."""
MOST_PRODUCTS = 1e11
CLOSE = 0.01
"""Standard errors by which a Newton step may move a coefficient of an optimum."""
SETTLED = 1e-6
"""Standard errors by which the last Newton step moves a coefficient at most."""
POLISHING_STEPS = 3
ROUNDING = 1e-7
"""Residuals, in standard deviations of the target, that are those of rounding to float32."""
BLOCK_ENTRIES = 200_000
STILL = 0.01
"""By how much the last Newton step may move a logit."""
SEPARABLE = "classes can be separated by these features, and then the likelihood has no optimum"
PENALISED = "the model was trained with a penalty, under which the classical standard errors do not hold"


class Refused(Exception):
    """There are no statistics, for the reason that is the message."""


@dataclass(frozen=True, slots=True)
class Inference:
    """Standard errors of W and b acting on the raw features; NaN where a coefficient is not determined.

    parameters   the optimum as the statistics mean it, float64: for softmax shifted so that the reference class is 0
    degrees      of freedom of Student's t; None for the normal distribution
    Shapes:      errors (d + 1, k), bias last
    """

    parameters: Parameters
    errors: Matrix
    degrees: int | None


def infer(
    problem: Problem, parameters: Parameters, options: Hyperparameters, scale: Matrix, centre: Matrix
) -> Inference:
    """The statistics of parameters; the problem's features are (raw − centre) / scale.

    Raises:  Refused
    """
    if options.l1 or options.l2:
        raise Refused(PENALISED)
    if options.class_weights is not None:
        raise Refused("the classes are weighted, under which the classical standard errors do not hold")
    to_raw = np.vstack([np.column_stack([np.diag(1 / scale), np.zeros(len(scale))]), np.append(-centre / scale, 1.0)])
    if options.model == "softmax":
        return _softmax(problem, parameters, to_raw)
    if options.loss not in ("squared", "mse"):
        raise Refused(f"the loss {options.loss} has no classical standard errors; use squared")
    return _linear(problem.train, parameters, to_raw)


def _linear(rows: Rows, parameters: Parameters, to_raw: Matrix) -> Inference:
    d, k = parameters.weights.shape
    _check_size(rows, d + 1, 1)
    gram, slopes, squares = np.zeros((d + 1, d + 1)), np.zeros((d + 1, k)), np.zeros(k)
    for chosen, X in _blocks(rows):
        residuals = rows.y[chosen] - X[:, :-1] @ parameters.weights - parameters.bias
        gram += X.T @ X
        slopes += X.T @ residuals
        squares += (residuals**2).sum(axis=0)
    equations = NormalEquations(gram, 0.0)
    degrees = rows.count - equations.rank
    if degrees <= 0:
        raise Refused(f"{rows.count} rows leave no degree of freedom beside {equations.rank} coefficients")
    inverse = equations.solve(np.eye(d + 1))
    variances = squares / degrees
    check_residuals(variances, rows)
    step = equations.solve(slopes)
    _check_optimum(np.abs(step) / np.sqrt(_diagonal(inverse)[:, None] * variances))
    optimum = Parameters(parameters.weights + step[:-1], parameters.bias + step[-1])
    unit = np.sqrt(_diagonal(to_raw @ inverse @ to_raw.T))
    unit[~equations.determined(to_raw)] = np.nan
    return Inference(optimum, unit[:, None] * np.sqrt(variances), degrees)


def check_residuals(variances: Matrix, rows: Rows) -> None:
    """A target that leaves nothing unexplained tells nothing of how sure its coefficients are.

    Raises:  Refused
    """
    spread = rows.y.var(axis=0, dtype=np.float64)
    if (spread == 0).any():
        raise Refused("the target is constant, so that there is nothing to explain and no error to measure")
    if (variances <= ROUNDING**2 * spread).any():
        raise Refused(
            "the model explains the target exactly, up to rounding: no residuals are left to measure errors by"
        )


def _softmax(problem: Problem, parameters: Parameters, to_raw: Matrix) -> Inference:
    rows, free = problem.train, problem.outputs - 1
    size = rows.features + 1
    _check_size(rows, size, free)
    theta = np.vstack([parameters.weights, parameters.bias]).astype(np.float64)
    theta -= theta[:, :1]
    for _ in range(POLISHING_STEPS):
        fisher, slopes, gram = _information(rows, theta)
        equations = NormalEquations(fisher, 0.0)
        if equations.rank < free * NormalEquations(gram, 0.0).rank:
            raise Refused(SEPARABLE)
        inverse = equations.solve(np.eye(free * size))
        step = equations.solve(slopes.reshape(-1, 1))[:, 0]
        distances = np.abs(step) / np.sqrt(_diagonal(inverse))
        _check_optimum(distances)
        theta[:, 1:] += step.reshape(free, size).T
        if distances.max() <= SETTLED:
            break
    if max(float(np.abs(X @ step.reshape(free, size).T).max()) for _, X in _blocks(rows)) > STILL:
        raise Refused(SEPARABLE)
    determined = equations.determined(np.asarray(np.kron(np.eye(free), to_raw))).reshape(free, size)
    errors = np.full((size, problem.outputs), np.nan)
    for c in range(free):
        own = inverse.reshape(free, size, free, size)[c, :, c]
        errors[:, c + 1] = np.sqrt(_diagonal(to_raw @ own @ to_raw.T))
        errors[~determined[c], c + 1] = np.nan
    return Inference(Parameters(theta[:-1], theta[-1]), errors, None)


def _information(rows: Rows, theta: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """The Fisher information of all classes but the first, the slopes of the log-likelihood, and X̃ᵀX̃.

    Shapes:  theta (d + 1, k) → (f, f), (k − 1, d + 1), (d + 1, d + 1), f = (k − 1)(d + 1)
    """
    size, free = theta.shape[0], theta.shape[1] - 1
    fisher, slopes, gram = np.zeros((free, size, free, size)), np.zeros((free, size)), np.zeros((size, size))
    for chosen, X in _blocks(rows):
        z = X @ theta
        P = np.exp(z - z.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        _add_information(fisher, X, P[:, 1:])
        P[np.arange(len(P)), rows.y[chosen]] -= 1
        slopes -= P[:, 1:].T @ X
        gram += X.T @ X
    return fisher.reshape(free * size, free * size), slopes, gram


def _add_information(fisher: NDArray[Any], X: Matrix, P: Matrix) -> None:
    """Add Xᵀ diag(p_c (δ_ce − p_e)) X for every pair of classes. Shapes: X (m, d + 1), P (m, k − 1)."""
    for c in range(P.shape[1]):
        for e in range(c + 1):
            weights = P[:, c] * ((c == e) - P[:, e])
            block = (X * weights[:, None]).T @ X
            fisher[c, :, e] += block
            if c != e:
                fisher[e, :, c] += block.T


def _check_size(rows: Rows, features: int, outputs: int) -> None:
    parameters = features * outputs
    if parameters > MOST_PARAMETERS or rows.count * float(parameters) ** 2 > MOST_PRODUCTS:
        raise Refused(f"{parameters} coefficients over {rows.count} rows are too many to find their covariances")


def _check_optimum(distances: Matrix) -> None:
    if not bool((np.nan_to_num(distances, nan=np.inf) <= CLOSE).all()):
        raise Refused(
            "the weights are not at the optimum, or there is none (classes that can be separated have none); "
            "train with the solver exact or lbfgs and without early stopping"
        )


def _diagonal(matrix: Matrix) -> Matrix:
    return np.maximum(np.diag(matrix), 1e-300)


def _blocks(rows: Rows) -> Any:
    for chosen, X in rows.blocks(BLOCK_ENTRIES):
        yield chosen, np.column_stack([X.astype(np.float64) * rows.scale, np.ones(len(X))])
