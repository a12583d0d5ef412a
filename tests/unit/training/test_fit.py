"""The loop: the chapter's experiments, divergence, pauses, determinism, and the shapes that are refused."""

from collections.abc import Callable

import numpy as np
import pytest

from app.training import cost
from app.training import fit as fit_module
from app.training.epoch import Epoch, Pause
from app.training.errors import Diverged
from app.training.fit import fit
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem, Rows, ShapeError
from tests.unit.training.reference import blobs, epochs, line, several_targets

TEXT_LOSSES = (0.0404, 0.000155, 0.000050)


def test_the_first_linear_experiment_comes_out_as_in_the_text() -> None:
    good = 0
    for seed in range(10):
        done = epochs(
            line(seed=seed),
            Hyperparameters(model="linear", epochs=3, batch_size=10, learning_rate=0.03, seed=seed),
        )
        ratios = [epoch.train_loss / text for epoch, text in zip(done, TEXT_LOSSES, strict=True)]
        parameters = done[-1].parameters
        off = max(abs(parameters.weights[:, 0] - [2, -3.4]).max(), abs(parameters.bias[0] - 4.2))
        good += max(ratios) < 1.5 and min(ratios) > 1 / 1.5 and off < 2e-3
    assert good >= 9


def test_the_summed_experiment_comes_out_as_in_the_text() -> None:
    for seed in range(10):
        done = epochs(
            line(weights=(4.2, 2.0, -3.2), bias=2, noise_std=0.02, seed=seed),
            Hyperparameters(
                model="linear",
                loss="mse",
                gradient_reduction="sum",
                train_metrics="running",
                epochs=5,
                batch_size=10,
                learning_rate=0.001,
                init={"type": "normal", "std": 1.0},
                seed=seed,
            ),
        )
        assert done[0].train_loss > 1
        assert done[-1].train_loss == pytest.approx(4e-4, rel=0.2)


def test_the_batch_of_one_experiment_comes_out_as_in_the_text() -> None:
    for seed in range(10):
        law = {"feature_mean": 2, "feature_std": 3.4, "noise_std": 0.3, "seed": seed}
        done = epochs(
            line(weights=(1.2, 6.53), bias=10.3, **law),
            Hyperparameters(
                model="linear",
                epochs=15,
                batch_size=1,
                learning_rate=0.001,
                init={"type": "normal", "mean": 5.0, "std": 3.4},
                seed=seed,
            ),
        )
        np.testing.assert_allclose(done[-1].parameters.weights[:, 0], [1.2, 6.53], atol=0.1)
        np.testing.assert_allclose(done[-1].parameters.bias, 10.3, atol=0.1)


def test_full_batch_descent_ends_at_the_least_squares_solution() -> None:
    problem = several_targets(rows=200)
    done = epochs(problem, Hyperparameters(model="linear", epochs=2000, batch_size=200))
    X = np.column_stack([problem.train.X, np.ones(200)]).astype(np.float64)
    solution = np.linalg.lstsq(X, problem.train.y.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(done[-1].parameters.weights, solution[:-1], atol=1e-4)
    np.testing.assert_allclose(done[-1].parameters.bias, solution[-1], atol=1e-4)


@pytest.mark.parametrize("make", [blobs, line, lambda: blobs(rows=900, features=784, classes=10, pixels=True)])
def test_the_same_seed_gives_the_same_bits(make: Callable[[], Problem]) -> None:
    problem = make()
    model = "softmax" if problem.train.y.ndim == 1 else "linear"

    def bits(seed: int) -> list[tuple[bytes, bytes, float]]:
        done = epochs(problem, Hyperparameters(model=model, epochs=3, learning_rate=0.01, seed=seed))
        return [(e.parameters.weights.tobytes(), e.parameters.bias.tobytes(), e.train_loss) for e in done]

    assert bits(1) == bits(1)
    assert bits(1) != bits(2)


@pytest.mark.parametrize("problem", [line(), blobs(), blobs(rows=900, features=784, classes=10)])
def test_divergence_keeps_the_last_finite_parameters_and_offers_a_rate_that_trains(problem: Problem) -> None:
    model, l2 = ("softmax", 10.0) if problem.train.y.ndim == 1 else ("linear", 0.0)
    seen: list[Epoch | Pause] = []
    with pytest.raises(Diverged) as caught:
        seen.extend(fit(problem, Hyperparameters(model=model, l2=l2, learning_rate=500.0, epochs=100)))
    diverged, kept = caught.value, next((s for s in reversed(seen) if isinstance(s, Epoch)), None)
    assert diverged.epoch == (kept.number if kept else 0) + 1
    assert np.isfinite(diverged.parameters.weights).all()
    if kept:
        assert diverged.parameters is kept.parameters
    rate = diverged.learning_rate_to_try
    done = epochs(problem, Hyperparameters(model=model, l2=l2, learning_rate=rate, epochs=20))
    assert done[-1].train_loss < done[0].train_loss


def test_a_long_epoch_pauses_and_ends_with_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = blobs(rows=500)
    problem = Problem(problem.train, problem.train, 3)
    given = Hyperparameters(model="softmax", epochs=2, batch_size=10, train_metrics="full")
    whole = epochs(problem, given)
    monkeypatch.setattr(cost, "PAUSE_NANOSECONDS", 7 * cost.compiled_step(cost.Shape(6, 3, 10)))
    steps = list(fit_module.fit(problem, given))
    sliced = [step for step in steps if isinstance(step, Epoch)]
    assert sum(isinstance(step, Pause) for step in steps) >= 2 * 7
    assert [e.train_loss for e in sliced] == pytest.approx([e.train_loss for e in whole], rel=1e-12)
    assert sliced[-1].parameters.weights.tobytes() == whole[-1].parameters.weights.tobytes()


def test_parameters_of_an_epoch_stay_as_they_were_when_training_goes_on() -> None:
    steps = fit(line(), Hyperparameters(model="linear", epochs=2, learning_rate=0.01))
    first = next(steps)
    assert isinstance(first, Epoch)
    weights = first.parameters.weights.copy()
    next(steps)
    np.testing.assert_array_equal(first.parameters.weights, weights)


def test_accuracy_is_reported_for_classes_alone() -> None:
    problem = line()
    epoch = epochs(Problem(problem.train, problem.train, 1), Hyperparameters(model="linear", epochs=1))[0]
    assert (epoch.train_accuracy, epoch.validation_accuracy) == (None, None)
    assert epoch.validation_loss == epoch.train_loss


X, y, labels = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32), np.arange(4, dtype=np.int32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rows(X.astype(np.float64), y), "float32 or uint8"),
        (lambda: Rows(X.T.copy().T, y), "C-contiguous"),
        (lambda: Rows(X, y[:, 0]), "answers"),
        (lambda: Rows(X, y[:3]), "4 rows of features and 3 answers"),
        (lambda: Rows(X[:0], y[:0]), "0 rows"),
        (lambda: Problem(Rows(X, y), None, 2), "1 targets for 2 outputs"),
        (lambda: Problem(Rows(X, labels), None, 3), "0…2"),
        (lambda: Problem(Rows(X, -labels), None, 4), "0…3"),
        (lambda: Problem(Rows(X, y), Rows(X[:, :1].copy(), y), 1), "different"),
        (lambda: Problem(Rows(X, y), Rows(X, labels), 1), "different"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make()
