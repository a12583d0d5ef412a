"""The same training in straightforward NumPy and float64, and problems to train on."""

import numpy as np
from numpy.typing import NDArray

from app.training import kernels, schedules
from app.training.compiled import CompiledEngine
from app.training.engine import Engine
from app.training.epoch import Epoch
from app.training.fit import fit, run
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem, Rows
from app.training.setting import Setting
from app.training.state import State
from app.training.tiled import TiledEngine

Array = NDArray[np.float64]


def line(rows: int = 1000, weights: tuple[float, ...] = (2, -3.4), bias: float = 4.2, **law: float) -> Problem:
    """The text's synthetic data: features ~ N(feature_mean, feature_std²), y = Xw + b + N(0, noise_std²)."""
    generator = np.random.default_rng(int(law.get("seed", 0)))
    X = generator.normal(law.get("feature_mean", 0), law.get("feature_std", 1), (rows, len(weights)))
    y = X @ np.array(weights) + bias + generator.normal(0, law.get("noise_std", 0.01), rows)
    return Problem(Rows(X.astype(np.float32), y.astype(np.float32)[:, None]), None, 1)


def blobs(rows: int = 300, features: int = 6, classes: int = 3, seed: int = 0, pixels: bool = False) -> Problem:
    """Classes around random centres; with `pixels` as uint8 with scale 1/255."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows).astype(np.int32)
    X = generator.normal(0, 1, (rows, features)) + 2 * generator.normal(0, 1, (classes, features))[labels]
    if pixels:
        images = np.clip(128 + 32 * X, 0, 255).astype(np.uint8)
        return Problem(Rows(images, labels, 1 / 255), None, classes)
    return Problem(Rows(X.astype(np.float32), labels), None, classes)


def several_targets(rows: int = 300, features: int = 5, outputs: int = 3, seed: int = 0) -> Problem:
    """Linear targets, with enough noise that every loss has both signs of residuals."""
    generator = np.random.default_rng(seed)
    X = generator.normal(0, 1, (rows, features))
    y = X @ generator.normal(0, 2, (features, outputs)) + generator.normal(0, 1, (rows, outputs))
    return Problem(Rows(X.astype(np.float32), y.astype(np.float32)), None, outputs)


def slopes(loss: str, z: Array, y: NDArray[np.generic]) -> tuple[Array, Array]:
    """Losses of the rows, and their derivatives in the outputs z."""
    if loss == "cross_entropy":
        e = np.exp(z - z.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        onehot = np.eye(z.shape[1])[y]
        return -np.log(p[np.arange(len(y)), y]), p - onehot
    r = z - y
    value = {
        "squared": r**2 / 2,
        "mse": r**2,
        "absolute": abs(r),
        "huber": np.where(abs(r) <= 1, r**2 / 2, abs(r) - 0.5),
    }[loss]
    slope = {"squared": r, "mse": 2 * r, "absolute": np.sign(r), "huber": np.clip(r, -1, 1)}[loss]
    return value.sum(1), slope


def trained_by_reference(problem: Problem, given: Hyperparameters, rate: float) -> tuple[Array, Array, list[float]]:
    """Weights, bias and running losses after all epochs."""
    options = given.model_copy(update={"learning_rate": rate}).effective(problem.train.count)
    momentum = options.momentum or 0.0
    X, y = problem.train.X.astype(np.float64) * problem.train.scale, problem.train.y
    W = options.init.draw(X.shape[1], problem.outputs, options.seed).astype(np.float64)
    b, vW, vb = np.zeros(problem.outputs), np.zeros_like(W), np.zeros(problem.outputs)
    order, batch, history = np.empty(len(X), np.int32), min(options.batch_size, len(X)), []
    for epoch in range(1, options.epochs + 1):
        kernels.permute(order, options.seed, epoch)
        steps, losses = -(-len(X) // batch), 0.0
        rates = schedules.rates(options.lr_schedule, rate, epoch, options.epochs, steps)
        for s in range(steps):
            chosen = order[s * batch : (s + 1) * batch]
            values, slope = slopes(options.loss, X[chosen] @ W + b, y[chosen])
            losses += values.sum()
            m = 1 if options.gradient_reduction == "sum" else len(chosen)
            gW, gb = X[chosen].T @ slope / m + options.l2 * W, slope.sum(0) / m
            vW, vb = momentum * vW + gW, momentum * vb + gb
            W = W - rates[s] * (gW + momentum * vW if options.nesterov else vW)
            b = b - rates[s] * (gb + momentum * vb if options.nesterov else vb)
            W = np.sign(W) * np.maximum(abs(W) - rates[s] * options.l1 / (1 - momentum), 0)
        history.append(losses / len(X))
    return W, b, history


def epochs(problem: Problem, hyperparameters: Hyperparameters, device: str = "cpu") -> list[Epoch]:
    """All epochs, the pauses left out."""
    return [step for step in fit(problem, hyperparameters, device) if isinstance(step, Epoch)]


def setting_of(problem: Problem, given: Hyperparameters) -> Setting:
    """What an engine is made from."""
    return Setting.of(problem, given)


def engine_of(regime: str, setting: Setting) -> Engine:
    """The engine of a regime, whatever the cost model says."""
    if regime == "compiled":
        return CompiledEngine(setting, 1_000_000)
    return TiledEngine([setting], 1_000_000, {"tiled": 1, "team": 3}[regime])


def epochs_of(
    regime: str, problem: Problem, given: Hyperparameters, rate: float, resume: State | None = None
) -> list[Epoch]:
    """All epochs, or those after `resume`, in the named regime."""
    setting = Setting.of(problem, given.model_copy(update={"learning_rate": rate}), resume)
    steps = run(setting, engine_of(regime, setting), resume.epoch if resume else 0)
    return [step for step in steps if isinstance(step, Epoch)]
