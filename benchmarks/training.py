"""Times of the training engine beside the plain ways, in one process, as ratios; and what the cost model rests on.

python -m benchmarks.training          the ratios
python -m benchmarks.training cost     nanoseconds of a step in either regime, and seconds of whole trainings by
                                       every solver, measured against predicted
python -m benchmarks.training estimates   the latter alone
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from app.training import cost, kernels
from app.training.compiled import CompiledEngine
from app.training.epoch import Epoch
from app.training.estimate import Work, seconds
from app.training.fit import fit
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem, Rows
from app.training.setting import Setting
from app.training.tiled import TiledEngine


def fastest(work: Callable[[], object], repeats: int = 5) -> float:
    """Seconds of the fastest of several runs, the first one not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def linear(rows: int, features: int) -> Problem:
    """A linear problem without noise."""
    generator = np.random.default_rng(0)
    X = generator.standard_normal((rows, features), np.float32)
    return Problem(Rows(X, (X @ np.ones((features, 1), np.float32)) + 1), None, 1)


def classes(rows: int, features: int, outputs: int, pixels: bool = False) -> Problem:
    """Classes without pattern, whose cost is that of any."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, outputs, rows).astype(np.int32)
    if pixels:
        images = generator.integers(0, 256, (rows, features), np.uint8)
        return Problem(Rows(images, labels, 1 / 255), None, outputs)
    return Problem(Rows(generator.standard_normal((rows, features), np.float32), labels), None, outputs)


def autograd(problem: Problem, batch_size: int, epochs: int, rate: float) -> None:
    """The textbook's loop: data in memory, autograd, torch.optim.SGD."""
    rows = problem.train
    X, y = torch.from_numpy(rows.X), torch.from_numpy(rows.y)
    net = torch.nn.Linear(rows.features, problem.outputs)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    loss = torch.nn.functional.mse_loss if rows.y.ndim == 2 else torch.nn.functional.cross_entropy
    y = y if rows.y.ndim == 2 else y.long()
    for _ in range(epochs):
        for chosen in torch.randperm(rows.count).split(batch_size):
            optimizer.zero_grad()
            loss(net(X[chosen].float() * rows.scale), y[chosen]).backward()
            optimizer.step()


def ratios() -> None:
    """Our training beside the textbook's loop."""
    experiments = [
        ("1000 × 2, batch 10, 3 epochs", linear(1000, 2), 10, 3),
        ("1 000 000 × 20, batch 64, 1 epoch", linear(1_000_000, 20), 64, 1),
        ("60 000 × 784 pixels, 10 classes, batch 256, 1 epoch", classes(60_000, 784, 10, pixels=True), 256, 1),
    ]
    for name, problem, batch, epochs in experiments:
        model = "linear" if problem.train.y.ndim == 2 else "softmax"
        options = Hyperparameters(
            model=model, epochs=epochs, batch_size=batch, learning_rate=1e-3, train_metrics="running"
        )
        ours = fastest(lambda p=problem, o=options: list(fit(p, o)))  # type: ignore[misc]
        theirs = fastest(lambda p=problem, b=batch, e=epochs: autograd(p, b, e, 1e-3), 1)  # type: ignore[misc]
        print(f"{name}: {ours * 1e3:.3f} ms, the textbook's loop {theirs * 1e3:.1f} ms: {theirs / ours:.0f} ×")


def cost_model() -> None:
    """A step in either regime, in nanoseconds."""
    print("   d    k batch   compiled predicted      tiled predicted   chosen, fastest")
    for features in (2, 20, 200, 784, 2000):
        for outputs in (1, 3, 10, 40):
            for batch in (1, 16, 64, 256, 1024):
                _print_step(cost.Shape(features, outputs, batch))


def _print_step(shape: cost.Shape) -> None:
    rows = max(2 * shape.batch, min(20_000, 4_000_000 // shape.features))
    problem = classes(rows, shape.features, shape.outputs) if shape.outputs > 1 else linear(rows, shape.features)
    model = "softmax" if shape.outputs > 1 else "linear"
    options = Hyperparameters(model=model, batch_size=shape.batch).effective(rows)
    setting = Setting.of(problem, options)
    steps = min(rows // shape.batch, max(2, 40_000 // shape.batch))
    rates = np.full(steps, 1e-3, np.float32)
    measured = []
    for engine in (CompiledEngine(setting, 1), TiledEngine([setting], 1)):
        engine.begin(1)
        measured.append(fastest(lambda e=engine: e.descend(0, steps, rates), 3) / steps * 1e9)  # type: ignore[misc]
    predicted = cost.compiled_step(shape), cost.tiled_step(shape)
    chosen, best = ("compiled" if first <= second else "tiled" for first, second in (predicted, measured))
    print(
        f"{shape.features:4} {shape.outputs:4} {shape.batch:5} {measured[0]:10.0f} {predicted[0]:9.0f} "
        f"{measured[1]:10.0f} {predicted[1]:9.0f}   {chosen}{'' if chosen == best else ', ' + best}"
        f"{'' if chosen == best else f' by {max(measured) / min(measured):.2f}'}"
    )


def noisy(rows: int, features: int, outputs: int) -> Problem:
    """A linear problem with noise, or classes that overlap where there are several outputs."""
    generator = np.random.default_rng(0)
    X = generator.standard_normal((rows, features), np.float32)
    z = X @ generator.standard_normal((features, outputs), np.float32) / np.float32(features**0.5)
    z += generator.gumbel(size=z.shape).astype(np.float32)
    return Problem(Rows(X, z if outputs == 1 else z.argmax(1).astype(np.int32)), None, outputs)


def estimates() -> None:
    """Whole trainings with default options, in seconds."""
    sweep = {"learning_rate": [0.01 * 1.2**power for power in range(16)]}
    print("solver, options              rows    d    k   measured predicted   ratio")
    for rows, features, outputs in [
        (500, 3, 1), (20_000, 14, 1), (300_000, 20, 1), (50_000, 200, 1), (4_000, 1000, 1),
        (500, 4, 3), (20_000, 15, 3), (200_000, 10, 5), (20_000, 100, 10),
    ]:  # fmt: skip
        problem = noisy(rows, features, outputs)
        jobs: list[dict[str, object]] = [{}, {"solver": "lbfgs"}, {"solver": "lbfgs", "l2": 1e-3}]
        jobs += [{"solver": "exact"}] if outputs == 1 else [{"sweep": sweep, "epochs": 5}]
        for options in jobs:
            _print_training(problem, {"standardize": True, **options})
    pixels = classes(30_000, 784, 10, pixels=True)
    for options in ({}, {"solver": "lbfgs"}, {"sweep": sweep, "epochs": 2}):
        _print_training(pixels, options)


def _print_training(problem: Problem, options: dict[str, object]) -> None:
    rows, k = problem.train, problem.outputs
    model = "linear" if rows.y.ndim == 2 else "softmax"
    given = Hyperparameters.model_validate({"model": model, **options}).effective(rows.count)
    shape = cost.Shape(rows.features, k, min(given.batch_size or rows.count, rows.count))
    full = rows.count if given.train_metrics == "full" else 0
    predicted = seconds(given, Work(shape, rows.count, full, rows.X.dtype == np.uint8))
    start = time.perf_counter()
    last = [step for step in fit(problem, given) if isinstance(step, Epoch)][-1]
    measured = time.perf_counter() - start
    told = ", ".join(str(value) for name, value in options.items() if name not in {"standardize", "sweep", "epochs"})
    name = f"{told or ('sweep' if 'sweep' in options else 'sgd')} ({last.number})"
    size = f"{rows.count:8} {rows.features:4} {k:4}"
    print(f"{name:24} {size} {measured:10.4f} {predicted:9.4f} {predicted / measured:7.2f}", flush=True)


def run() -> None:
    """The ratios."""
    kernels.warm()
    ratios()


if __name__ == "__main__":
    kernels.warm()
    if "cost" in sys.argv:
        cost_model()
    if "cost" in sys.argv or "estimates" in sys.argv:
        estimates()
    else:
        ratios()
