"""Pictures of datasets: bars, bins, points, and grids of images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGES_A_ROW = 9
_BLUE, _GREY = "#1f77b4", "#8c8c8c"


@dataclass(frozen=True)
class Bars:
    """How often each of some values occurs, and how often all others together do."""

    name: str
    counts: Mapping[str, int]
    others: str | None
    other_count: int

    def draw(self, figure: "Figure") -> None:
        """Bars from the top, with their counts."""
        entries = [*self.counts.items(), *([(self.others, self.other_count)] if self.others else [])]
        figure.set_size_inches(6.4, max(2.4, 0.9 + 0.3 * len(entries)))
        axes = figure.add_subplot()
        colours = [_BLUE] * len(self.counts) + [_GREY] * (len(entries) - len(self.counts))
        bars = axes.barh(range(len(entries)), [count for _, count in entries], color=colours)
        axes.bar_label(bars, padding=3, fontsize=9, fmt="{:,.0f}")
        axes.set_yticks(range(len(entries)), [label for label, _ in entries])
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel("rows")
        axes.set_title(self.name)


@dataclass(frozen=True)
class Bins:
    """A histogram with bins of one width."""

    name: str
    start: float
    width: float
    counts: tuple[int, ...]

    def draw(self, figure: "Figure") -> None:
        """Adjoining bars."""
        axes = figure.add_subplot()
        width = self.width or 1.0
        lefts = self.start + width * np.arange(len(self.counts)) - (0 if self.width else 0.5)
        axes.bar(lefts, self.counts, width, align="edge", color=_BLUE, edgecolor="white", linewidth=0.5)
        axes.set_xlabel(self.name)
        axes.set_ylabel("rows")


@dataclass(frozen=True)
class Points:
    """A scatter plot; `groups` are the rows of each class, which have a colour each."""

    x: tuple[str, NDArray[Any]]
    y: tuple[str, NDArray[Any]]
    color: str | None
    groups: Mapping[str, NDArray[np.bool_]]
    shown: int
    rows: int

    def draw(self, figure: "Figure") -> None:
        """Points, small and half transparent where there are many."""
        axes = figure.add_subplot()
        look: dict[str, Any] = {"s": 14 if self.shown <= 500 else 6, "alpha": 0.7, "linewidths": 0}
        (x_name, x), (y_name, y) = self.x, self.y
        if not self.groups:
            axes.scatter(x, y, color=_BLUE, **look)
        colours = _colours(len(self.groups))
        clouds = [
            axes.scatter(x[rows], y[rows], color=_GREY if label == "missing" else colour, **look)
            for (label, rows), colour in zip(self.groups.items(), colours, strict=True)
        ]
        if self.groups:
            place: dict[str, Any] = {"bbox_to_anchor": (1.01, 1), "loc": "upper left"}
            # A legend that looks for labels itself leaves out those that begin with an underscore.
            axes.legend(clouds, list(self.groups), title=self.color, fontsize=8, markerscale=2, **place)
        axes.set_xlabel(x_name)
        axes.set_ylabel(y_name)
        if self.shown < self.rows:
            axes.set_title(f"{self.shown:,} of {self.rows:,} rows", fontsize=9, color=_GREY)


@dataclass(frozen=True)
class Grid:
    """Images in rows of nine, each with its label above. Shapes: (n, h, w) grey, (n, h, w, 3 or 4) colour."""

    images: NDArray[Any]
    labels: tuple[str, ...]

    def draw(self, figure: "Figure") -> None:
        """One pair of axes for each image."""
        columns = max(1, min(IMAGES_A_ROW, len(self.images)))
        rows = max(1, -(-len(self.images) // columns))
        figure.set_size_inches(1.25 * columns, 1.5 * rows)
        for position, image in enumerate(self.images):
            axes = figure.add_subplot(rows, columns, position + 1)
            self._draw_image(axes, image)
            if self.labels:
                axes.set_title(self.labels[position], fontsize=8)

    def _draw_image(self, axes: "Axes", image: NDArray[Any]) -> None:
        limits: dict[str, Any] = {"vmin": 0, "vmax": 255 if image.dtype == np.uint8 else 1} if image.ndim == 2 else {}
        axes.imshow(image, cmap="gray", interpolation="nearest", **limits)
        axes.set_axis_off()


Picture = Bars | Bins | Points | Grid


def _colours(number: int) -> list[Any]:
    from matplotlib import colormaps

    palette = colormaps["tab10" if number <= 10 else "tab20"]
    return [palette(position) for position in range(number)]
