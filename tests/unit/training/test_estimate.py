"""What a training is expected to take: how it grows, and what it adds up."""

from typing import Any

import pytest

from app.training import estimate, learning_rate, objective, optimum
from app.training.cost import Shape
from app.training.estimate import Work, iterations, seconds
from app.training.hyperparameters import Hyperparameters

LARGE = Work(Shape(200, 10, 256), 1_000_000, 0)


def expected(work: Work, **options: Any) -> float:
    model = "linear" if work.shape.outputs == 1 else "softmax"
    return seconds(Hyperparameters(model=model, **options).effective(work.rows), work)


def test_the_limits_are_those_of_the_solvers() -> None:
    assert estimate.PRECISE_ENTRIES == objective.PRECISE_ENTRIES
    assert estimate.SAMPLED_ENTRIES == learning_rate.SAMPLED_ENTRIES
    assert estimate.WIDEST_SOLVED == optimum.WIDEST


@pytest.mark.parametrize("options", [
    {"epochs": 5}, {"epochs": 5, "standardize": True, "l2": 0.1}, {"solver": "lbfgs"}, {"solver": "lbfgs", "l1": 0.1},
    {"epochs": 5, "sweep": {"learning_rate": [0.1, 0.2]}}, {"epochs": 5, "optimality_gap": True},
], ids=str)  # fmt: skip
def test_twice_the_rows_take_about_twice_as_long(options: dict[str, Any]) -> None:
    double = Work(LARGE.shape, 2 * LARGE.rows, 0)
    assert 1.8 <= expected(double, **options) / expected(LARGE, **options) <= 2.2


def test_exact_grows_with_the_rows_and_with_the_square_of_the_features() -> None:
    work = Work(Shape(200, 1, 256), 1_000_000, 0)
    wide = Work(Shape(400, 1, 256), 1_000_000, 0)
    assert 2 < expected(wide, solver="exact") / expected(work, solver="exact") < 4


def test_what_is_asked_for_beside_is_counted() -> None:
    plain = expected(LARGE, epochs=5)
    assert expected(LARGE, epochs=5, optimality_gap=True) > plain
    assert expected(LARGE, epochs=5, sweep={"learning_rate": [0.1] * 16}) > 4 * plain
    assert expected(LARGE, epochs=5, learning_rate=0.1) < plain
    assert expected(Work(LARGE.shape, LARGE.rows, LARGE.rows), epochs=5) > plain
    small = Work(Shape(20, 1, 256), 1000, 0)
    assert expected(small, optimality_gap=True, epochs=5) > expected(small, epochs=5)


def test_on_a_gpu_the_start_is_what_counts_at_first() -> None:
    given = Hyperparameters(model="softmax", epochs=1)
    given = given.model_copy(update={"learning_rate": 0.1})
    once, often = (seconds(given.model_copy(update={"epochs": n}).effective(1000), LARGE, "cuda") for n in (1, 1000))
    assert 2 < once < 3
    assert often > 100


def test_a_rate_is_found_on_the_cpu_though_the_steps_are_a_gpus() -> None:
    sought, given = (
        Hyperparameters(model="softmax", epochs=1, learning_rate=rate).effective(1000) for rate in ("auto", 0.1)
    )
    on_cpu, on_gpu = (seconds(sought, LARGE, device) - seconds(given, LARGE, device) for device in ("cpu", "cuda"))
    assert on_gpu == pytest.approx(on_cpu)
    assert on_gpu > 1


@pytest.mark.parametrize(("options", "likely"), [
    ({"model": "linear", "standardize": True}, 2), ({"model": "linear", "standardize": True, "l2": 0.1}, 4),
    ({"model": "linear", "standardize": False}, 20), ({"model": "softmax", "standardize": True}, 25),
    ({"model": "softmax", "standardize": True, "l2": 0.1}, 40), ({"model": "softmax", "l1": 0.1}, 200),
    ({"model": "softmax", "epochs": 7}, 7),
], ids=str)  # fmt: skip
def test_lbfgs_is_expected_to_iterate_as_the_data_is_conditioned(options: dict[str, Any], likely: int) -> None:
    assert iterations(Hyperparameters(solver="lbfgs", **options), Work(Shape(10, 1, 1), 1000, 0)) == likely


def test_images_are_searched_to_the_last_iteration() -> None:
    given = Hyperparameters(model="softmax", solver="lbfgs").effective(60_000)
    assert iterations(given, Work(Shape(784, 10, 256), 60_000, 0, pixels=True)) == given.epochs
