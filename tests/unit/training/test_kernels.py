"""The permutation, the exponential and the logarithm on their own."""

import math

import numpy as np
import pytest

from app.training import kernels
from app.training.compilation import compiled
from app.training.losses import exponential, logarithm


def _permutation(rows: int, seed: int, epoch: int) -> list[int]:
    order = np.empty(rows, np.int32)
    kernels.permute(order, seed, epoch)
    return list(order)


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 1000, 4097])
def test_an_epoch_visits_each_row_once(rows: int) -> None:
    assert sorted(_permutation(rows, 0, 1)) == list(range(rows))


def test_a_permutation_is_a_function_of_seed_and_epoch_alone() -> None:
    later = _permutation(500, 7, 3)
    _permutation(500, 1, 1)
    assert _permutation(500, 7, 3) == later


def test_seeds_and_epochs_give_different_permutations() -> None:
    drawn = {tuple(_permutation(100, seed, epoch)) for seed in range(30) for epoch in range(1, 31)}
    assert len(drawn) == 900


def test_the_largest_seed_is_taken() -> None:
    assert sorted(_permutation(50, 2**53 - 1, 1_000_000)) == list(range(50))


def test_all_permutations_of_four_rows_are_equally_likely() -> None:
    draws = 24_000
    counts: dict[tuple[int, ...], int] = {}
    for epoch in range(draws):
        key = tuple(_permutation(4, 0, epoch))
        counts[key] = counts.get(key, 0) + 1
    expected = draws / 24
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == 24
    assert chi_squared < 60  # 23 degrees of freedom: exceeded once in 30 000 fair drawings


def test_the_exponential_is_right_to_float32() -> None:
    evaluate = exponential
    points = np.linspace(-86.9, 0, 5001).astype(np.float32)
    values = np.array([evaluate(x) for x in points])
    np.testing.assert_allclose(values, np.exp(points.astype(np.float64)), rtol=3e-7)
    assert evaluate(np.float32(-1e30)) == 0
    assert math.isnan(evaluate(np.float32(np.nan)))


def test_the_logarithm_is_right_to_float32() -> None:
    points = np.concatenate([np.linspace(1, 2, 2001), np.geomspace(2, 1e6, 2001), [2**20, 3e38]]).astype(np.float32)
    values = np.array([logarithm(x) for x in points])
    np.testing.assert_allclose(values, np.log(points.astype(np.float64)), rtol=2e-7)
    assert logarithm(np.float32(1)) == 0
    assert math.isnan(logarithm(np.float32(np.nan)))
    assert math.isinf(logarithm(np.float32(np.inf)))


@compiled
def logarithms(values):
    for i in range(np.uint64(values.size)):
        values[i] = logarithm(values[i])


def test_many_logarithms_at_once_are_the_same() -> None:
    values = np.array([1, 1.5, 2, 10, 784, 1e6, np.nan, np.inf] * 5, np.float32)
    expected = np.log(values.astype(np.float64))
    logarithms(values)
    np.testing.assert_allclose(values, expected, rtol=2e-7)


@compiled
def stepped(state, rate, scale, penalised, update):
    kernels.step(state, rate, scale, penalised, update)


@pytest.mark.parametrize("l1", [0.0, 0.1])
def test_a_step_does_not_hide_a_number_that_is_none(l1: float) -> None:
    theta, velocity, gradient, decay = (np.ones(3, np.float32) for _ in range(4))
    gradient[:2] = np.nan, np.inf
    state = theta, velocity, gradient, decay, np.zeros((1, 1), np.float32)
    zero, one = np.float32(0), np.float32(1)
    stepped(state, one, one, 2, (zero, zero, one, np.float32(l1)))
    assert math.isnan(theta[0])
    assert not math.isfinite(theta[1])
    assert not kernels.finite(theta)
    assert kernels.finite(theta[2:])
