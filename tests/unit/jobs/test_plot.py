"""The picture of a history."""

import re

from matplotlib.figure import Figure

from app.jobs import plot
from app.tables import EpochRow


def row(epoch: int, loss: float) -> EpochRow:
    return EpochRow(job_id="j", epoch=epoch, train_loss=loss, learning_rate=0.1, seconds=0.1, candidate=0)


def limits(best: list[float], other: float) -> tuple[float, float]:
    axes = Figure().add_subplot()
    axes.plot(best)
    axes.plot([other] * len(best))
    plot._zoom(axes, [row(number, loss) for number, loss in enumerate(best, 1)])
    low, high = axes.get_ylim()
    return low, high


def test_a_candidate_that_goes_astray_leaves_the_best_its_room():
    low, high = limits([3.0, 2.0, 1.0], 1e21)

    assert 0 < low < 1
    assert 3 < high <= 10


def test_candidates_that_are_near_the_best_are_all_seen():
    _, high = limits([3.0, 2.0, 1.0], 4.0)

    assert high > 4


def test_a_logarithmic_axis_is_labelled_with_numbers_and_no_formulas():
    rows = [row(number, 10.0 ** (1 - number)) for number in range(1, 5)]

    picture = plot.draw(rows, {"loss": "squared", "model": "linear"}, "image/svg+xml").decode()

    assert "mathdefault" not in picture
    assert "<!-- 0.01 -->" in picture


def test_the_legend_says_once_what_the_grey_curves_are():
    rows = [
        EpochRow(job_id="j", epoch=epoch, train_loss=loss, learning_rate=0.1, seconds=0.1, candidate=candidate)
        for candidate, loss in enumerate([0.5, 0.6, 0.7])
        for epoch in (1, 2)
    ]
    swept = plot.draw(rows, {"loss": "squared", "model": "linear"}, "image/svg+xml").decode()
    alone = plot.draw(rows[:2], {"loss": "squared", "model": "linear"}, "image/svg+xml").decode()

    assert swept.count("<!-- train loss of other candidates -->") == 1
    assert "other candidates" not in alone


def test_a_single_epoch_has_one_tick_and_none_at_all_is_said():
    spec = {"loss": "squared", "model": "linear"}
    assert re.findall("<!-- ([0-9.]+) -->", plot.draw([row(1, 0.5)], spec, "image/svg+xml").decode())[0] == "1"
    assert "<!-- no epoch is recorded -->" in plot.draw([], spec, "image/svg+xml").decode()
