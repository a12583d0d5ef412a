"""Few epochs of a long history: they keep the extremes of each curve."""

import numpy as np
import pytest

from app.jobs.extremes import sampled

Row = tuple[int, int, *tuple[float | None, ...]]


def noisy(epochs: int, candidates: int = 1, measures: int = 4) -> list[Row]:
    values = np.random.default_rng(0).normal(size=(epochs, candidates, measures))
    return [(e + 1, c, *values[e, c].tolist()) for e in range(epochs) for c in range(candidates)]


def extremes(rows: list[Row]) -> list[tuple[float, float]]:
    """The least and the greatest of each candidate's measurements."""
    own: dict[tuple[int, int], list[float]] = {}
    for _, candidate, *values in rows:
        for number, value in enumerate(values):
            own.setdefault((number, candidate), []).extend([] if value is None else [value])
    return [(min(values), max(values)) for values in own.values()]


def sample(rows: list[Row], points: int) -> list[Row]:
    chosen = sampled(rows, len(rows[0]) - 2, points)
    assert len(chosen) <= points
    assert (chosen[0], chosen[-1]) == (rows[0][0], rows[-1][0])
    return [row for row in rows if row[0] in set(chosen)]


@pytest.mark.parametrize("points", [10, 50, 500])
def test_every_loss_and_accuracy_keeps_its_extremes(points: int):
    rows = noisy(2000)

    assert extremes(sample(rows, points)) == extremes(rows)


@pytest.mark.parametrize("points", [26, 100])
def test_every_candidate_of_a_sweep_keeps_its_extremes(points: int):
    rows = noisy(500, candidates=3)

    assert extremes(sample(rows, points)) == extremes(rows)


def test_each_stretch_keeps_the_extremes_of_every_curve():
    rows = noisy(1000)

    kept = sample(rows, 2 + 5 * 8)

    for start in range(0, 1000, 200):
        of_all, of_kept = ([row for row in given if start < row[0] <= start + 200] for given in (rows, kept))
        assert extremes(of_kept) == extremes(of_all)


def test_where_there_is_no_room_for_all_the_first_measurement_of_each_candidate_goes_before_others():
    rows = noisy(500, candidates=2)

    kept = sample(rows, 8)

    of_candidates = [[[row for row in given if row[1] == c] for c in (0, 1)] for given in (rows, kept)]
    of_all, of_kept = ([extremes(own) for own in given] for given in of_candidates)
    assert [own[0] for own in of_kept] == [own[0] for own in of_all]
    assert of_kept != of_all


@pytest.mark.parametrize("points", range(2, 10))
def test_a_sample_has_as_many_epochs_as_there_is_room_for(points: int):
    assert len({row[0] for row in sample(noisy(100), points)}) == points


def test_a_candidate_that_was_dropped_keeps_its_extremes_too():
    rows = [row for row in noisy(500, candidates=2) if row[1] == 0 or row[0] <= 100]

    assert extremes(sample(rows, 40)) == extremes(rows)


def test_what_was_not_measured_has_no_extremes():
    rows: list[Row] = [(epoch, 0, None, 1.0 if epoch == 51 else None) for epoch in range(1, 101)]

    assert 51 in sampled(rows, 2, 4)
    assert len(sampled([(epoch, 0, None, None) for epoch in range(1, 101)], 2, 4)) == 4
    assert sampled([], 2, 4) == []
