"""Both regimes of the CPU against the straightforward loop, autograd and torch's SGD."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from app.training import fit as fit_module
from app.training import kernels, tiled, tiled_kernels
from app.training.compilation import frozen
from app.training.compiled import CompiledEngine
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Parameters, Problem, Rows
from app.training.tiled import TiledEngine
from tests.unit.training.reference import (
    blobs,
    engine_of,
    epochs,
    epochs_of,
    line,
    setting_of,
    several_targets,
    trained_by_reference,
)

REGIMES = ("compiled", "tiled", "team")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "full batch": {"batch_size": 10_000},
    "batch 1": {"batch_size": 1},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.8, "nesterov": True},
    "penalties": {"l1": 0.01, "l2": 0.1},
    "penalties and momentum": {"l1": 0.01, "l2": 0.1, "momentum": 0.5},
    "weights that l1 sets to zero": {"l1": 2.0},
    "summed": {"gradient_reduction": "sum", "batch_size": 8},
    "zeros": {"init": {"type": "zeros"}},
    "falling": {"lr_schedule": {"type": "cosine", "final": 0.1}},
}


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("kind", ["softmax", "pixels", "linear", "several targets"])
def test_three_epochs_end_where_the_straightforward_loop_ends(regime: str, options: dict[str, Any], kind: str) -> None:
    problem = {
        "softmax": lambda: blobs(rows=101),
        "pixels": lambda: blobs(rows=101, pixels=True),
        "linear": lambda: line(rows=101),
        "several targets": lambda: several_targets(rows=101),
    }[kind]()
    model = "softmax" if kind in {"softmax", "pixels"} else "linear"
    given = Hyperparameters(
        model=model, train_metrics="running", **{"epochs": 3, "batch_size": 16, "seed": 5, **options}
    )
    done = epochs_of(regime, problem, given, rate=0.01)
    W, b, history = trained_by_reference(problem, given, rate=0.01)
    np.testing.assert_allclose(done[-1].parameters.weights, W, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(done[-1].parameters.bias, b, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose([epoch.train_loss for epoch in done], history, rtol=1e-4)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("loss", ["squared", "mse", "absolute", "huber"])
def test_each_linear_loss_trains_as_in_the_straightforward_loop(regime: str, loss: str) -> None:
    problem = several_targets(rows=64)
    given = Hyperparameters(model="linear", loss=loss, epochs=2, batch_size=16, train_metrics="running")
    done = epochs_of(regime, problem, given, rate=0.05)
    W, b, history = trained_by_reference(problem, given, rate=0.05)
    np.testing.assert_allclose(done[-1].parameters.weights, W, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(done[-1].parameters.bias, b, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose([epoch.train_loss for epoch in done], history, rtol=1e-4)


TORCH_LOSSES = {
    "squared": lambda z, y: 0.5 * ((z - y) ** 2).sum(1).mean(),
    "mse": lambda z, y: ((z - y) ** 2).sum(1).mean(),
    "absolute": lambda z, y: (z - y).abs().sum(1).mean(),
    "huber": lambda z, y: torch.nn.functional.huber_loss(z, y, reduction="none").sum(1).mean(),
    "cross_entropy": torch.nn.functional.cross_entropy,
}


def _after_one_step(regime: str, problem: Problem, loss: str) -> tuple[Any, Any]:
    """Weights before a full-batch step, and the gradient that the step followed."""
    model = "softmax" if loss == "cross_entropy" else "linear"
    given = Hyperparameters(model=model, loss=loss, epochs=1, batch_size=10_000, init={"type": "normal", "std": 0.5})
    setting = setting_of(problem, given)
    after = epochs_of(regime, problem, given, rate=1.0)[-1].parameters
    first = setting.start.weights
    return first, (first - after.weights, -after.bias)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("loss", TORCH_LOSSES)
def test_a_step_follows_the_gradient_that_autograd_finds(regime: str, loss: str) -> None:
    problem = blobs(rows=80) if loss == "cross_entropy" else several_targets(rows=80)
    weights, (weights_step, bias_step) = _after_one_step(regime, problem, loss)
    W = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(problem.outputs, dtype=torch.float64, requires_grad=True)
    y = torch.tensor(problem.train.y).long() if loss == "cross_entropy" else torch.tensor(problem.train.y).double()
    TORCH_LOSSES[loss](torch.tensor(problem.train.X).double() @ W + b, y).backward()
    np.testing.assert_allclose(weights_step, W.grad, rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(bias_step, b.grad, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("loss", TORCH_LOSSES)
def test_a_step_follows_the_finite_differences_of_the_loss(loss: str) -> None:
    problem = blobs(rows=80) if loss == "cross_entropy" else several_targets(rows=80)
    weights, (weights_step, _) = _after_one_step("compiled", problem, loss)
    y = torch.tensor(problem.train.y).long() if loss == "cross_entropy" else torch.tensor(problem.train.y).double()

    def value(W: Any) -> float:
        return float(TORCH_LOSSES[loss](torch.tensor(problem.train.X.astype(np.float64) @ W), y))

    for j, c in [(0, 0), (2, 1), (4, 2)]:
        nudge = np.zeros(weights.shape)
        nudge[j, c] = 1e-6
        slope = (value(weights + nudge) - value(weights - nudge)) / 2e-6
        assert weights_step[j, c] == pytest.approx(slope, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_steps_are_those_of_torch_sgd(regime: str, momentum: float, nesterov: bool) -> None:
    problem = blobs(rows=60)
    given = Hyperparameters(
        model="softmax", epochs=4, batch_size=13, l2=0.05, momentum=momentum, nesterov=nesterov, seed=3
    )
    W = torch.tensor(setting_of(problem, given).start.weights, requires_grad=True)
    b = torch.zeros(problem.outputs, requires_grad=True)
    groups = [{"params": [W], "weight_decay": 0.05}, {"params": [b]}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=momentum, nesterov=nesterov)
    X, y, order = torch.tensor(problem.train.X), torch.tensor(problem.train.y).long(), np.empty(60, np.int32)
    for epoch in range(1, 5):
        kernels.permute(order, 3, epoch)
        for chosen in torch.tensor(order).long().split(13):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(X[chosen] @ W + b, y[chosen]).backward()
            optimizer.step()
    after = epochs_of(regime, problem, given, rate=0.1)[-1].parameters
    np.testing.assert_allclose(after.weights, W.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after.bias, b.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("regime", REGIMES)
def test_measured_losses_and_accuracies_are_those_of_all_rows(regime: str) -> None:
    train, validation = blobs(rows=150, seed=1), blobs(rows=70, seed=2)
    problem = Problem(train.train, validation.train, 3)
    given = Hyperparameters(model="softmax", epochs=1, train_metrics="full")
    epoch = epochs_of(regime, problem, given, rate=0.1)[0]
    figures = [(epoch.train_loss, epoch.train_accuracy), (epoch.validation_loss, epoch.validation_accuracy)]
    for rows, (loss, accuracy) in zip((problem.train, validation.train), figures, strict=True):
        z = torch.tensor(rows.X @ epoch.parameters.weights + epoch.parameters.bias)
        y = torch.tensor(rows.y).long()
        assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(z, y)), rel=1e-5)
        assert accuracy == pytest.approx(float((z.argmax(1) == y).float().mean()), abs=1e-6)


@pytest.mark.parametrize("regime", REGIMES)
def test_equal_logits_count_as_the_first_class_and_not_as_a_hit_for_all(regime: str) -> None:
    problem = blobs(rows=90)
    given = Hyperparameters(model="softmax", epochs=1, init={"type": "zeros"}, train_metrics="full")
    engine = engine_of(regime, setting_of(problem, given))
    engine.begin(1)
    engine.measure(1, 0, 90)
    assert engine.report().totals[1, 1] == (problem.train.y == 0).sum()


@pytest.mark.parametrize("regime", ["tiled", "team"])
@pytest.mark.parametrize("features", [1, 7, 16, 33, 1100])
@pytest.mark.parametrize("classes", [2, 3, 4, 6, 7, 12])
def test_whatever_is_left_beside_whole_tiles_and_blocks_is_trained_too(
    regime: str, features: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiled, "FEWEST_ROWS", 5)
    monkeypatch.setattr(tiled, "MOST_ROWS", 5)
    problem = blobs(rows=101, features=features, classes=classes, pixels=classes % 2 == 0)
    given = Hyperparameters(model="softmax", epochs=2, batch_size=60, momentum=0.5, train_metrics="running")
    done = epochs_of(regime, problem, given, rate=0.001)
    W, b, history = trained_by_reference(problem, given, rate=0.001)
    np.testing.assert_allclose(done[-1].parameters.weights, W, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(done[-1].parameters.bias, b, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose([epoch.train_loss for epoch in done], history, rtol=1e-4)


def test_splits_of_pixels_and_of_numbers_are_measured_alike() -> None:
    pixels = blobs(rows=60, pixels=True).train
    numbers = Rows(pixels.X.astype(np.float32), pixels.y, pixels.scale)
    given = Hyperparameters(model="softmax", epochs=1, train_metrics="full", learning_rate=1e-6)
    for train, validation in ((pixels, numbers), (numbers, pixels)):
        done = epochs_of("tiled", Problem(train, validation, 3), given, rate=1e-6)[0]
        assert done.train_loss == done.validation_loss


@pytest.mark.parametrize("count", [1, 7, 8, 13])
@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_logit_that_is_none_makes_a_loss_that_is_none(count: int, odd: float) -> None:
    order, labels, shares = np.arange(16, dtype=np.int32), np.zeros(16, np.int32), np.ones(4, np.float32)
    for c, i in itertools.product(range(4), range(count)):
        Z, totals = np.ones((4, 16), np.float32), np.zeros(2)
        Z[c, i] = odd
        chosen = order, 0, count, count
        tiled_kernels.softmax_slopes(Z, 0, chosen, frozen(labels), frozen(shares), np.ones((4, 16), np.float32), totals)
        assert not np.isfinite(totals[0])


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_last_classs_gradient_is_that_of_any_class(classes: int) -> None:
    problem = blobs(rows=300, classes=classes, pixels=True)
    given = Hyperparameters(model="softmax", epochs=2, batch_size=60, class_weights="balanced", l2=0.01)
    alone, other = (epochs_of(regime, problem, given, rate=0.01)[-1].parameters for regime in ("tiled", "compiled"))
    np.testing.assert_allclose(alone.weights, other.weights, rtol=2e-4, atol=2e-6)
    np.testing.assert_allclose(alone.bias, other.bias, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_weights_that_all_classes_share_cancel_exactly(classes: int) -> None:
    problem = blobs(rows=300, classes=classes, pixels=True)
    given = Hyperparameters(model="softmax", epochs=1, batch_size=60, train_metrics="running")
    W = np.random.default_rng(0).integers(-64, 65, (problem.train.features, classes)).astype(np.float32) / 1024
    b = np.zeros(classes, np.float32)
    starts = Parameters(W, b), Parameters(W + 512, b + 8192)  # without rounding: the sum of the logits' is of some 1e6
    problems = (Problem(problem.train, None, classes, start=start) for start in starts)
    losses = [epochs_of("tiled", each, given, rate=0.0)[0].train_loss for each in problems]
    assert losses[0] == losses[1]


def test_every_loop_is_compiled_once_whatever_it_is_given(tmp_path: Any) -> None:
    kernels.warm()
    loops = [kernels.permute, kernels.descend, kernels.survey, kernels.finite]
    loops += [tiled_kernels.descend, tiled_kernels.differentiate]
    np.save(tmp_path / "X.npy", blobs().train.X)
    mapped = Rows(np.load(tmp_path / "X.npy", mmap_mode="r"), blobs().train.y)
    for regime in REGIMES:
        for problem in (blobs(), blobs(pixels=True), several_targets(), line(), Problem(mapped, mapped, 3)):
            model = "linear" if problem.train.y.ndim == 2 else "softmax"
            epochs_of(regime, problem, Hyperparameters(model=model, epochs=1, momentum=0.5), rate=0.01)
    for options in ({"sweep": {"l2": [0.0, 0.1]}}, {"solver": "lbfgs"}):
        epochs(blobs(pixels=True), Hyperparameters(model="softmax", epochs=1, **options))
    assert [len(loop.signatures) for loop in loops] == [1] * len(loops)


def test_all_regimes_take_the_same_rows_in_the_same_order() -> None:
    problem = blobs(rows=97)
    given = Hyperparameters(model="softmax", epochs=1, batch_size=97, seed=11)
    first, *others = (epochs_of(regime, problem, given, rate=0.1)[0] for regime in REGIMES)
    for other in others:
        np.testing.assert_allclose(first.parameters.weights, other.parameters.weights, rtol=1e-5, atol=1e-6)


def test_a_team_of_the_same_size_gives_the_same_bits() -> None:
    given = Hyperparameters(model="softmax", epochs=3, batch_size=50, momentum=0.5)
    first, second = (epochs_of("team", blobs(rows=500, pixels=True), given, rate=0.1)[-1] for _ in range(2))
    assert first.parameters.weights.tobytes() == second.parameters.weights.tobytes()
    assert first.train_loss == second.train_loss


def test_a_wide_problem_and_a_narrow_one_go_to_different_regimes() -> None:
    wide = Problem(Rows(np.ones((600, 784), np.uint8), np.zeros(600, np.int32), 1 / 255), None, 10)
    setting = setting_of(wide, Hyperparameters(model="softmax", batch_size=256))
    assert isinstance(fit_module._engine(setting, "cpu"), TiledEngine)
    setting = setting_of(line(), Hyperparameters(model="linear", batch_size=10))
    assert isinstance(fit_module._engine(setting, "cpu"), CompiledEngine)
