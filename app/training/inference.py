"""Inference statistics: how sure the coefficients are, where the theory says so.

    linear    Cov(w) = σ² (X̃ᵀX̃)⁻¹,  σ² = RSS / (n − rank),  Student's t       as statsmodels' OLS
    softmax   Cov(w) = F⁻¹, F the Fisher information, z statistics             as statsmodels' MNLogit

Both hold at the optimum of the unpenalised likelihood, which the parameters must have reached: a Newton step from
them may not move any coefficient by more than a hundredth of its standard error. Such steps are taken, in float64,
so that what is told are the digits of the optimum, however a search in float32 has ended. Softmax is determined up to a
common shift of all classes: the first class is the reference, whose weights are 0.

Where the steps of SGD have ended within a tenth of a standard error of least squares, its errors hold too, and the
weights stay as they are.

Where classes can be separated there is no optimum: however far a search has gone, a Newton step moves the logits of the
rows in question by about 1 again, and their information vanishes. Standard errors, huge there, do not show it.

Of columns that depend on each other see `covariance`.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.training.covariance import Covariance, Fold, Refused, blocks, check_size, raw_map
from app.training.exact import NormalEquations
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Parameters, Problem, Rows

Matrix = NDArray[np.float64]

CLOSE = 0.01
"""Standard errors by which a Newton step may move a coefficient of an optimum."""
NEAR = 0.1
"""Standard errors within which steps must have ended of least squares; none is taken from there."""
SETTLED = 1e-6
"""Standard errors by which the last Newton step moves a coefficient at most."""
POLISHING_STEPS = 3
ROUNDING = 2e-7
"""Residuals, in standard deviations of the target and of w·x of each column, that are those of rounding to float32."""
STILL = 0.01
"""By how much the last Newton step may move a logit."""
SEPARABLE = "classes can be separated by these features, and then the likelihood has no optimum"
PENALISED = "the model was trained with a penalty, under which the classical standard errors do not hold"
BY_STEPS = "the model was trained by steps, which end near the optimum but not at it; use the solver exact or lbfgs"
AWAY = (
    "the weights are not at the optimum, or there is none (classes that can be separated have none); "
    "train with the solver exact or lbfgs and without early stopping"
)


@dataclass(frozen=True, slots=True)
class Inference:
    """Standard errors of W and b acting on the raw features, or the reason why there are none.

    parameters   those that the errors mean: the optimum in float64, for softmax shifted so that the reference class is
                 0; after steps, and without errors, the trained ones
    errors       NaN where a coefficient is not determined
    degrees      of freedom of Student's t; None for the normal distribution
    covariance   of a linear model; where it has none, `reason` says why
    Shapes:      errors (d + 1, k), bias last
    """

    parameters: Parameters
    errors: Matrix | None = None
    degrees: int | None = None
    reason: str | None = None
    covariance: Covariance | None = None


def infer(problem: Problem, parameters: Parameters, options: Hyperparameters, fold: Fold) -> Inference:
    """The statistics of trained parameters; `fold` makes them act on the raw features.

    Shapes:  parameters (d, k), (k,)
    """
    covariance = None
    by_steps = options.solver == "sgd"
    try:
        _check_options(options)
        if options.model == "softmax":
            return _softmax(problem, parameters, fold)
        check_size(problem.train, problem.train.features + 1, by_steps)
        covariance = Covariance.of(problem.train, parameters, fold)
        _check_residuals(covariance, problem.train)
        return _by_steps(parameters, covariance) if by_steps else _polished(parameters, covariance)
    except Refused as refused:
        return Inference(parameters, reason=str(refused), covariance=covariance)


def _check_options(options: Hyperparameters) -> None:
    """What was minimised must be a likelihood, and that alone; of a softmax model, steps never find its optimum."""
    if options.l1 or options.l2:
        raise Refused(PENALISED)
    if options.class_weights is not None:
        raise Refused("the classes are weighted, under which the classical standard errors do not hold")
    if options.model == "linear" and options.loss not in ("squared", "mse"):
        raise Refused(f"the loss {options.loss} has no classical standard errors; use squared")
    if options.model == "softmax" and options.solver == "sgd":
        raise Refused(BY_STEPS)


def _check_residuals(covariance: Covariance, rows: Rows) -> None:
    """A target that leaves nothing unexplained tells nothing of how sure its coefficients are.

    σ² ≤ ROUNDING² · (var(y) + Σ_j w_j² · mean of x_j²): large weights of opposite signs, as those of powers of a year,
    magnify what float32 rounds off X.
    """
    spread = rows.y.var(axis=0, dtype=np.float64)
    if (spread == 0).any():
        raise Refused("the target is constant, so that there is nothing to explain and no error to measure")
    if (covariance.variances <= ROUNDING**2 * (spread + covariance.parts)).any():
        raise Refused(
            "the model explains the target exactly, up to rounding: no residuals are left to measure errors by"
        )


def _by_steps(parameters: Parameters, covariance: Covariance) -> Inference:
    """Steps may end at least squares as far as the data can tell; then its standard errors hold."""
    if covariance.distance > NEAR:
        raise Refused(BY_STEPS)
    return Inference(parameters, covariance.errors, covariance.degrees, covariance=covariance)


def _polished(parameters: Parameters, covariance: Covariance) -> Inference:
    """At the optimum, where one Newton step leads: the objective is quadratic."""
    if covariance.distance > CLOSE:
        raise Refused(AWAY)
    step = covariance.step
    optimum = Parameters(parameters.weights + step[:-1], parameters.bias + step[-1])
    there = replace(covariance, to_least_squares=np.zeros_like(step))
    return Inference(optimum, covariance.errors, covariance.degrees, covariance=there)


def _softmax(problem: Problem, parameters: Parameters, fold: Fold) -> Inference:
    rows, free = problem.train, problem.outputs - 1
    size = rows.features + 1
    check_size(rows, size * free)
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
    if max(float(np.abs(X @ step.reshape(free, size).T).max()) for _, X in blocks(rows)) > STILL:
        raise Refused(SEPARABLE)
    to_raw = raw_map(fold, rows.features)
    determined = equations.determined(np.asarray(np.kron(np.eye(free), to_raw))).reshape(free, size)
    errors = np.full((size, problem.outputs), np.nan)
    for c in range(free):
        own = inverse.reshape(free, size, free, size)[c, :, c]
        errors[:, c + 1] = np.sqrt(_diagonal(to_raw @ own @ to_raw.T))
        errors[~determined[c], c + 1] = np.nan
    return Inference(Parameters(theta[:-1], theta[-1]), errors)


def _information(rows: Rows, theta: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """The Fisher information of all classes but the first, the slopes of the log-likelihood, and X̃ᵀX̃.

    Shapes:  theta (d + 1, k) → (f, f), (k − 1, d + 1), (d + 1, d + 1), f = (k − 1)(d + 1)
    """
    size, free = theta.shape[0], theta.shape[1] - 1
    fisher, slopes, gram = np.zeros((free, size, free, size)), np.zeros((free, size)), np.zeros((size, size))
    for chosen, X in blocks(rows):
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


def _check_optimum(distances: Matrix) -> None:
    if not bool((np.nan_to_num(distances, nan=np.inf) <= CLOSE).all()):
        raise Refused(AWAY)


def _diagonal(matrix: Matrix) -> Matrix:
    return np.maximum(np.diag(matrix), 1e-300)
