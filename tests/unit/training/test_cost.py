"""The choice between the regimes, where there is no doubt about it, and the length of a slice."""

import pytest

from app.training import cost


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 1, 10), (20, 1, 64), (4, 3, 8), (784, 10, 1), (1000, 1, 2)])
def test_narrow_problems_and_small_batches_are_small(shape: tuple[int, int, int]) -> None:
    assert cost.small(cost.Shape(*shape))


@pytest.mark.parametrize(
    "shape", [(20, 3, 64), (1000, 1, 256), (784, 10, 1024), (784, 40, 64), (2000, 40, 256), (200, 40, 256)]
)
def test_wide_problems_in_large_batches_are_large(shape: tuple[int, int, int]) -> None:
    assert not cost.small(cost.Shape(*shape))


def test_threads_share_a_step_where_each_has_something_to_do() -> None:
    assert cost.members(cost.Shape(784, 10, 256), 4) == 4
    assert cost.members(cost.Shape(784, 10, 256), 1) == 1
    assert cost.members(cost.Shape(784, 10, 1), 4) == 1
    assert cost.members(cost.Shape(20, 3, 16), 4) == 1


def test_what_is_small_for_one_thread_may_be_large_for_several() -> None:
    shape = cost.Shape(10, 1, 10_000)
    assert cost.small(shape)
    assert not cost.small(shape, 8)
    assert cost.small(cost.Shape(2, 1, 10), 8)


@pytest.mark.parametrize("shape", [(2, 1, 10), (784, 10, 256), (50_000, 100, 10_000)])
def test_a_slice_takes_about_a_tenth_of_a_second_or_one_step(shape: tuple[int, int, int]) -> None:
    made = cost.Shape(*shape)
    step = min(cost.compiled_step(made), cost.tiled_step(made))
    steps = cost.steps_between_pauses(made)
    assert steps == 1 or 0.05e9 < steps * step <= 0.1e9


def test_cuda_has_to_earn_its_start() -> None:
    assert not cost.cuda_is_faster(cost.Shape(2, 1, 10), 100_000)
    assert cost.cuda_is_faster(cost.Shape(3000, 1000, 4096), 10_000)
    assert cost.cuda_step(cost.Shape(784, 10, 1_000_000)) > 1e7  # it reads 3 GB twice
