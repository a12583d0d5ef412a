"""The automatic rate: its parts against linear algebra, and whether it trains where a fixed one would not."""

from typing import Any

import numpy as np
import pytest

from app.training import learning_rate
from app.training.errors import UnsuitableOption
from app.training.hyperparameters import Hyperparameters
from app.training.learning_rate import largest_eigenvalue, largest_row, safe_rate
from app.training.problem import Problem, Rows
from tests.unit.training.reference import blobs, epochs, line, several_targets


@pytest.mark.parametrize("problem", [line(), blobs(), blobs(pixels=True), several_targets(features=30)])
def test_the_power_iteration_finds_the_largest_eigenvalue(problem: Problem) -> None:
    X = problem.train.X.astype(np.float64) * problem.train.scale
    X = np.column_stack([X, np.ones(len(X))])
    expected = np.linalg.eigvalsh(X.T @ X / len(X))[-1]
    assert largest_eigenvalue(problem.train) == pytest.approx(expected, rel=0.02)
    assert largest_row(problem.train) == pytest.approx((X**2).sum(1).max(), rel=1e-5)


def test_a_long_table_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = line(rows=20_000)
    whole = largest_eigenvalue(problem.train)
    monkeypatch.setattr(learning_rate, "SAMPLED_ENTRIES", 8_000)
    assert largest_eigenvalue(problem.train) == pytest.approx(whole, rel=0.05)


def _rate(**options: Any) -> float:
    given = Hyperparameters(model="linear", batch_size=10, **options).effective(1000)
    return safe_rate(given, line().train)


def test_the_rate_allows_for_the_options_that_lengthen_a_step() -> None:
    plain = _rate()
    assert _rate(loss="mse") == pytest.approx(plain / 2)
    steady, noise = largest_eigenvalue(line().train), largest_row(line().train) / 10
    assert 1 / plain == pytest.approx(steady + noise)
    assert 1 / _rate(momentum=0.9) == pytest.approx(steady / 1.9 + noise / 0.1)
    assert _rate(gradient_reduction="sum") == pytest.approx(plain / 10)
    assert 1 / _rate(l2=3.0) == pytest.approx(1 / plain + 3)


@pytest.mark.parametrize("batch_size", [1, 8, 64, 1000])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("loss", ["squared", "mse", "absolute", "huber"])
def test_the_rate_trains_whatever_the_batch_and_the_scale(batch_size: int, scale: float, loss: str) -> None:
    problem = line(feature_mean=3 * scale, feature_std=scale, noise_std=1.0)
    done = epochs(problem, Hyperparameters(model="linear", loss=loss, epochs=5, batch_size=batch_size))
    assert done[-1].train_loss <= done[0].train_loss * 1.05


def test_a_rare_category_does_not_make_it_diverge() -> None:
    generator = np.random.default_rng(0)
    rare = (generator.random((5000, 1)) < 0.001).astype(np.float64)
    X = np.column_stack([generator.normal(size=(5000, 4)), (rare - rare.mean()) / rare.std()])
    y = (X @ np.arange(1, 6) + generator.normal(size=5000))[:, None]
    rows = Rows(X.astype(np.float32), y.astype(np.float32))
    done = epochs(Problem(rows, None, 1), Hyperparameters(model="linear", epochs=20, batch_size=64))
    assert done[-1].train_loss < 0.6


@pytest.mark.parametrize("loss", ["absolute", "huber"])
@pytest.mark.parametrize("precondition", ["whiten", "none"])
@pytest.mark.parametrize("share", [0.02, 0.2])
def test_a_few_huge_targets_do_not_lengthen_the_steps_of_a_loss_that_bounds_them(
    loss: str, precondition: str, share: float
) -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(500, 3))
    y = X @ [2, -1, 0.5] + 3.5 + generator.normal(0, 0.3, 500)
    y[: int(share * 500)] = 1e9
    options = Hyperparameters(model="linear", loss=loss, precondition=precondition, standardize=True, epochs=200)

    (*_, last) = epochs(Problem(Rows(X.astype(np.float32), y[:, None].astype(np.float32)), None, 1), options)

    assert last.parameters.weights[:, 0] == pytest.approx([2, -1, 0.5], abs=0.1)
    assert last.parameters.bias[0] == pytest.approx(3.5, abs=0.4)


@pytest.mark.parametrize(("y", "spread"), [([0, 0, 0, 8], 2), ([1, 2, 3, 4, 5, 6, 7, 1e9], 1.5), ([7, 7], 0)])
def test_the_spread_of_targets_is_that_of_the_nearest(y: list[float], spread: float) -> None:
    assert learning_rate.spread(np.array(y)[:, None]) == pytest.approx(spread)


def test_huge_features_do_not_overflow() -> None:
    problem = line(feature_std=1e25)
    assert 0 < safe_rate(Hyperparameters(model="linear").effective(1000), problem.train) < 1e-40


def test_what_comes_round_again_is_not_hidden_from_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_rate, "SAMPLED_ENTRIES", 20_000)
    X = np.zeros((4000, 10), np.float32)
    X[1::2] = np.random.default_rng(0).standard_normal((2000, 1), np.float32) * np.sqrt(2)
    assert largest_eigenvalue(Rows(X, np.zeros((4000, 1), np.float32))) == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_large_batches_are_stable_with_either_momentum(nesterov: bool, schedule: str) -> None:
    generator = np.random.default_rng(0)
    X = generator.standard_normal((20_000, 2)).astype(np.float32)
    problem = Problem(Rows(X, X @ np.ones((2, 1), np.float32) + 1), None, 1)
    given = {"model": "linear", "batch_size": 20_000, "epochs": 150, "momentum": 0.9, "lr_schedule": {"type": schedule}}
    losses = [epoch.train_loss for epoch in epochs(problem, Hyperparameters(**given, nesterov=nesterov))]
    assert max(losses) < 3
    assert losses[-1] < 1e-5


def test_features_too_large_for_any_step_are_refused() -> None:
    with pytest.raises(UnsuitableOption, match="standardize: true"):
        epochs(line(feature_std=1e25), Hyperparameters(model="linear"))
