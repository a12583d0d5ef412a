"""Training beside scikit-learn, NumPy and PyTorch's DataLoader in one process, as ratios.

OPENBLAS_NUM_THREADS=1 python -m benchmarks training_parity    CPU seconds of one thread each, those of an idle machine
OPENBLAS_NUM_THREADS=2 python -m benchmarks training_parity    wall-clock seconds of two threads each
"""

import gzip
import os
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, SGDRegressor

from app.training import exact, kernels, tiles
from app.training.compilation import aligned, compiled, frozen
from app.training.epoch import Epoch, uninterrupted
from app.training.fit import fit
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem, Rows
from app.training.setting import Setting
from app.training.team import Team, threads
from app.training.tiled import TiledEngine, scratch
from benchmarks.training import classes, linear

FOLDER = os.environ.get("ONELAYER_FASHION_MNIST", "data/fashion-mnist")


THREADS = threads()
QUIET_SECONDS = 0.1
EPOCHS = 5
now = time.process_time if THREADS == 1 else time.perf_counter


def fastest(work: Callable[[], object], repeats: int = 5) -> float:
    """Seconds of the fastest of several runs, the first one not counted."""
    return side_by_side(work, rounds=repeats)[0]


def side_by_side(*works: Callable[[], object], rounds: int = 5) -> list[float]:
    """Seconds of the fastest run of each, the first ones not counted: in turns, so that a busy minute is everyone's."""
    for work in works:
        work()
    times = [[turn(work) for work in works] for _ in range(rounds)]
    return [min(each) for each in zip(*times, strict=True)]


def turn(work: Callable[[], object]) -> float:
    """Seconds of the faster of two runs, when other libraries' threads no longer keep a core busy looking for work."""
    time.sleep(QUIET_SECONDS)
    times = []
    for _ in range(2):
        start = now()
        work()
        times.append(now() - start)
    return min(times)


def said(name: str, ours: float, theirs: float, other: str) -> None:
    """One line: both times and the ratio."""
    print(f"{name}: {ours * 1e3:.2f} ms, {other} {theirs * 1e3:.1f} ms: {theirs / ours:.1f} ×", flush=True)


def fashion_mnist(folder: Path) -> Problem:
    """The real images."""

    def split(name: str) -> Rows:
        images, labels = (
            np.frombuffer(gzip.decompress((folder / f"{name}-{kind}-ubyte.gz").read_bytes()), np.uint8)
            for kind in ("images-idx3", "labels-idx1")
        )
        return Rows(images[16:].reshape(-1, 784), labels[8:].astype(np.int32), 1 / 255)

    return Problem(split("train"), split("t10k"), 10)


def last(problem: Problem, **options: object) -> Epoch:
    """The last epoch of a training."""
    return [step for step in fit(problem, Hyperparameters(**options)) if isinstance(step, Epoch)][-1]  # type: ignore[arg-type]


def loader_epochs(problem: Problem) -> None:
    """TensorDataset, DataLoader and autograd, as the text has it."""
    images = torch.from_numpy(problem.train.X.copy()).float().mul_(problem.train.scale)
    data = torch.utils.data.TensorDataset(images, torch.from_numpy(problem.train.y.copy()).long())
    net = torch.nn.Linear(784, 10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(EPOCHS):
        for X, y in torch.utils.data.DataLoader(data, 256, shuffle=True):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(X), y).backward()
            optimizer.step()


def against_sgd_regressor() -> None:
    """A step for each row, as scikit-learn's SGDRegressor does it."""
    for name, problem, batch, epochs in [
        ("1000 × 2, batch 1, 3 epochs", linear(1000, 2), 1, 3),
        ("1 000 000 × 20, batch 64, 1 epoch", linear(1_000_000, 20), 64, 1),
    ]:
        options = {"epochs": epochs, "batch_size": batch, "learning_rate": 1e-3, "train_metrics": "running"}
        given = Hyperparameters(model="linear", **options)  # type: ignore[arg-type]
        regressor = SGDRegressor(max_iter=epochs, tol=None, learning_rate="constant", eta0=1e-3, alpha=0.0)
        ours, theirs = side_by_side(
            lambda p=problem, g=given: list(fit(p, g)),  # type: ignore[misc]
            lambda p=problem, r=regressor: r.fit(p.train.X, p.train.y[:, 0]),  # type: ignore[misc]
        )
        said(name, ours, theirs, "SGDRegressor")


def against_lstsq() -> None:
    """The exact solver on 1 000 000 × 50."""
    generator = np.random.default_rng(0)
    X = generator.standard_normal((1_000_000, 50), np.float32) + 3
    y = X @ generator.standard_normal((50, 1), np.float32) + generator.standard_normal((1_000_000, 1), np.float32)
    found = uninterrupted(exact.least_squares(Rows(X, y), 0.0))
    design, target = np.column_stack([X, np.ones(len(X))]).astype(np.float64), y.astype(np.float64)
    ours, theirs = side_by_side(
        lambda: uninterrupted(exact.least_squares(Rows(X, y), 0.0)),
        lambda: np.linalg.lstsq(design, target, rcond=None),
        rounds=3,
    )
    said("exact, 1 000 000 × 50", ours, theirs, "numpy.linalg.lstsq")
    off = np.abs(np.linalg.lstsq(design, target, rcond=None)[0][:-1] - found.weights).max()
    print(f"    largest difference of a weight {off:.1e}")


def images(problem: Problem) -> None:
    """Fashion-MNIST: an epoch, its parts, the whole job, the optimum, and a sweep."""
    given = {"model": "softmax", "batch_size": 256, "learning_rate": 0.1}
    train_only = Problem(problem.train, None, 10)
    training, loop = side_by_side(
        lambda: last(train_only, epochs=EPOCHS, **given), lambda: loader_epochs(problem), rounds=3
    )
    epoch = training / EPOCHS
    said(f"Fashion-MNIST, batch 256, an epoch of {EPOCHS}", epoch, loop / EPOCHS, "DataLoader loop")
    found, whole = side_by_side(products(), peak(), rounds=20)
    ours, padded = (whole / (2 * 1024**3) * (2 * 2 * 60_000 * 784 * columns) for columns in (10, 16))
    print(
        f"    its two products {found * 1e3:.1f} ms; at sgemm's peak {ours * 1e3:.1f} ms: {found / ours:.2f} ×,",
        end=" ",
    )
    print(f"with ten columns padded to sixteen {padded * 1e3:.1f} ms: {found / padded:.2f} ×")
    print(f"    the whole epoch {epoch / ours:.2f} × and {epoch / padded:.2f} × of the products at peak")
    momentum = {**given, "learning_rate": 0.15, "momentum": 0.9, "lr_schedule": {"type": "linear"}, "epochs": EPOCHS}
    job = fastest(lambda: last(problem, **momentum), 2)
    X, tested = problem.train.X / np.float32(255), problem.validation.X / np.float32(255)  # type: ignore[union-attr]
    logistic = LogisticRegression(C=1e4, max_iter=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = fastest(lambda: logistic.fit(X, problem.train.y), 1)
    said("    the job", job, theirs, "LogisticRegression, 100 steps")
    score = logistic.score(tested, problem.validation.y)  # type: ignore[union-attr]
    print(f"    test accuracy {last(problem, **momentum).validation_accuracy:.4f}, theirs {score:.4f}")
    to_the_same_objective(train_only, X, logistic, theirs)
    rates = [0.01 * 1.3**power for power in range(16)]
    shared = {"model": "softmax", "batch_size": 256, "epochs": 1}
    sweep, alone = side_by_side(
        lambda: last(train_only, sweep={"learning_rate": rates}, **shared),
        lambda: [last(train_only, learning_rate=rate, **shared) for rate in rates],
    )
    print(f"a sweep of 16 rates: {sweep * 1e3:.0f} ms, 16 jobs {alone * 1e3:.0f} ms: {sweep / alone:.2f} of their time")


def to_the_same_objective(problem: Problem, X: np.ndarray, logistic: LogisticRegression, theirs: float) -> None:  # type: ignore[type-arg]
    """L-BFGS until the objective is within 1e-4 of scikit-learn's."""
    l2 = 1 / (1e4 * len(X))
    z = X @ logistic.coef_.T + logistic.intercept_
    z -= z.max(1, keepdims=True)
    loss = float((np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), problem.train.y]).mean(dtype=np.float64))
    goal = (loss + l2 / 2 * float((logistic.coef_**2).sum())) * (1 + 1e-4)
    reached = 0

    def ours() -> None:
        nonlocal reached
        for step in fit(problem, Hyperparameters(model="softmax", solver="lbfgs", l2=l2, epochs=1000)):
            if isinstance(step, Epoch):
                value = step.train_loss + l2 / 2 * float((step.parameters.weights**2).sum())
                reached = step.number
                if value <= goal:
                    return

    said("    lbfgs to the same objective", fastest(ours, 1), theirs, "LogisticRegression")
    print(f"    in {reached} iterations")


@compiled
def both_products(rows, block, W, Z, G, octets, order):  # type: ignore[no-untyped-def]
    """The two products of so many rows, block by block; no row is asked for, since octets have no bytes."""
    for first in range(0, rows, block.shape[0]):
        count = min(block.shape[0], rows - first)
        tiles.forward(block, count, W, Z, 0)
        tiles.backward(block, count, Z, G, octets, (order, 0, 0, 0), 0)


def products() -> Callable[[], None]:
    """The two products of an epoch by the engine's tiles, for all ten classes; the engine itself computes nine."""
    team = Team(THREADS)
    spaces = [(*scratch(784, 10, 256), aligned(10, 784)) for _ in range(THREADS)]
    weights, order = aligned(10, 784), np.zeros(1, np.int32)

    def part(member: int) -> None:
        block, Z, _, _, gradient = spaces[member]
        first, last = team.share(member, 60_000)
        both_products(last - first, block, weights, Z, gradient, frozen(np.empty((0, 0), np.uint8)), order)

    return lambda: team.run(part)


def peak() -> Callable[[], object]:
    """The sgemm of a size that NumPy is fastest at: 2·1024³ operations."""
    A = np.ones((1024, 1024), np.float32)
    return lambda: A @ A


def growth() -> None:
    """How the epoch grows when rows or features double, in the large regime."""

    def epoch(rows: int, features: int) -> Callable[[], None]:
        problem = classes(rows, features, 10, pixels=True)
        setting = Setting.of(problem, Hyperparameters(model="softmax", batch_size=256, learning_rate=1e-3))
        engine = TiledEngine([setting], 1_000_000, THREADS)
        engine.begin(1)
        steps = rows // 256
        return lambda: engine.descend(0, steps, np.full(steps, 1e-3, np.float32))

    shapes = [(30_000, 784), (60_000, 784), (30_000, 1568)]
    base, rows, features = side_by_side(*(epoch(*shape) for shape in shapes), rounds=20)
    print(f"twice the rows {rows / base:.2f} ×, twice the features {features / base:.2f} ×")


def run() -> None:
    """Every comparison."""
    torch.set_num_threads(THREADS)
    kernels.warm()
    against_sgd_regressor()
    against_lstsq()
    growth()
    folder = Path(FOLDER)
    if folder.is_dir():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        problem = fashion_mnist(folder)
        images(problem)
        print(f"peak memory grew from {before // 1024} MB (scikit-learn's and torch's copies of the data included)")


if __name__ == "__main__":
    run()
