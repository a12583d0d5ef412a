"""The picture of a loss history: loss and accuracy against the epoch, as the text plots them."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from app.drawing import drawn
from app.tables import EpochRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOSSES = (("train_loss", "train loss", "C0", "-"), ("validation_loss", "validation loss", "C3", "--"))
_ACCURACIES = (
    ("train_accuracy", "train accuracy", "C1", "--"),
    ("validation_accuracy", "validation accuracy", "C2", "-."),
)
_OTHERS = "train loss of other candidates"
ASTRAY = 2.0
"""Losses of other candidates are drawn up to so many times those of the best."""


def draw(rows: Sequence[EpochRow], spec: dict[str, Any], media_type: str) -> bytes:
    """The curves of a history; of a sweep those of the best candidate, before the losses of all others in grey."""
    return drawn(partial(_draw, rows, spec), media_type)


def _draw(rows: Sequence[EpochRow], spec: dict[str, Any], figure: "Figure") -> None:
    from matplotlib.ticker import MaxNLocator

    best = _best(rows)
    figure.set_size_inches(6, 4)
    axes = figure.add_subplot()
    others: list[Any] = []
    for number in sorted({row.candidate for row in rows} - {best}):
        own = [row for row in rows if row.candidate == number]
        others += _curves(axes, own, _LOSSES[:1], color="0.7", label=_OTHERS, linewidth=0.8)
    rows = [row for row in rows if row.candidate == best]
    lines = _curves(axes, rows, _LOSSES) + others[:1]
    axes.set(xlabel="epoch", ylabel=f"loss ({spec.get('loss')})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=True, alpha=0.3)
    _scale(axes, rows, spec["model"] == "linear")
    _zoom(axes, rows)
    if any(row.train_accuracy is not None for row in rows):
        beside = axes.twinx()
        beside.set(ylabel="accuracy", ylim=(0, 1.02))
        beside.spines["right"].set_visible(True)
        lines += _curves(beside, rows, _ACCURACIES)
    if not lines:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no epoch is recorded", ha="center", va="center", transform=axes.transAxes)
    else:
        # Above the picture, since curves fill it to every corner.
        figure.legend(handles=lines, loc="outside upper center", ncols=2)


def _best(rows: Sequence[EpochRow]) -> int:
    """The candidate with the least loss at its last epoch, on the validation rows where there are any."""
    last = {row.candidate: row for row in rows}
    reached = max((row.epoch for row in rows), default=0)
    losses = [
        (row.train_loss if row.validation_loss is None else row.validation_loss, candidate)
        for candidate, row in last.items()
        if row.epoch == reached
    ]
    return min(((loss, candidate) for loss, candidate in losses if loss is not None), default=(0.0, 0))[1]


def _curves(
    axes: "Axes", rows: Sequence[EpochRow], which: Sequence[tuple[str, str, str, str]], **looks: Any
) -> list[Any]:
    lines = []
    for name, label, colour, style in which:
        points = [(row.epoch, getattr(row, name)) for row in rows if getattr(row, name) is not None]
        if points:
            marker = "o" if len(points) == 1 else None
            look = {"color": colour, "linestyle": style, "label": label, "marker": marker} | looks
            lines += axes.plot(*zip(*points, strict=True), **look)
    return lines


def _zoom(axes: "Axes", rows: Sequence[EpochRow]) -> None:
    """One candidate that goes astray must not press the curves of all others, and of the best one, to the ground."""
    losses = [loss for row in rows for loss in (row.train_loss, row.validation_loss) if loss is not None]
    if losses and axes.get_ylim()[1] > ASTRAY * max(losses) > 0:
        axes.set_ylim(0.95 * min(losses), ASTRAY * max(losses))


def _scale(axes: "Axes", rows: Sequence[EpochRow], may_be_logarithmic: bool) -> None:
    """A loss that falls by orders of magnitude is seen on a logarithmic scale alone."""
    losses = [loss for row in rows for loss in (row.train_loss, row.validation_loss) if loss is not None]
    if may_be_logarithmic and losses and min(losses) > 0 and max(losses) / min(losses) > 50:
        from matplotlib.ticker import FuncFormatter, NullFormatter

        axes.set_yscale("log")
        # Matplotlib's own labels are formulas, which no picture here draws.
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
