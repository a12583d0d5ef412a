"""Plots of a dataset: which picture a request means, and the values in it. `pictures` draws them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.datasets.dataset import Dataset
from app.datasets.feature_encoding import told_apart
from app.datasets.kinds import Kind, as_numbers
from app.datasets.pictures import Bars, Bins, Grid, Points
from app.drawing import drawn
from app.errors import Fault, InvalidRequest

MOST_BARS = 30
MOST_COLOURS = 20
MOST_IMAGES = 100
DEFAULT_IMAGES = 18
DEFAULT_POINTS = 2000
_BLOCK_ROWS = 1 << 18


@dataclass(frozen=True)
class Plot:
    """What a client asks to see; what it leaves open follows from the columns."""

    x: str | None = None
    y: str | None = None
    kind: str | None = None
    color: str | None = None
    split: str = "all"
    limit: int | None = None


def plotted(dataset: Dataset, plot: Plot, media_type: str) -> bytes:
    """The picture as SVG or PNG."""
    about = {column["name"]: column for column in dataset.description.columns}
    for field in ("x", "y", "color"):
        name = getattr(plot, field)
        if name is not None and name not in about:
            raise _refused(field, f"there is no column {name!r}; the columns are {', '.join(list(about)[:20])}")
    kind = plot.kind or _kind(dataset, plot)
    if kind != "scatter":
        for field in ("y", "color"):
            if getattr(plot, field) is not None:
                raise _refused(field, f"this applies to a scatter plot, not to {kind}")
    return drawn(_DRAW[kind](dataset, plot, about).draw, media_type)


def _kind(dataset: Dataset, plot: Plot) -> str:
    if plot.y is not None:
        return "scatter"
    shown = plot.x is None or dataset.kinds[plot.x] is Kind.ARRAY
    return "images" if shown and dataset.description.array_files else "histogram"


def _histogram(dataset: Dataset, plot: Plot, about: Mapping[str, Any]) -> Bars | Bins:
    name = plot.x or dataset.description.target
    if name is None:
        raise _refused("x", "say which column to draw, for the dataset names no target")
    if plot.split != "all" or plot.limit is not None:
        raise _refused("split" if plot.split != "all" else "limit", "a histogram is that of all rows")
    column = about[name]
    if "categories" in column:
        listed = column["categories"][:MOST_BARS]
        names = told_apart(_shown(entry["value"]) for entry in listed)
        counts = {name: entry["count"] for name, entry in zip(names, listed, strict=True)}
        rest = dataset.rows - column["missing"] - sum(counts.values())
        levels = column.get("distinct", len(counts)) - len(counts)
        return Bars(name, counts, f"{levels} more" if rest else None, rest)
    if "histogram" not in column:
        raise _refused("x", f"the column {name!r} is {column['kind']}, of which there is no histogram")
    bins = column["histogram"]
    return Bins(name, bins["start"], bins["width"], tuple(bins["counts"]))


def _scatter(dataset: Dataset, plot: Plot, about: Mapping[str, Any]) -> Points:
    if plot.x is None or plot.y is None:
        raise _refused("x" if plot.x is None else "y", "a scatter plot needs two columns, x and y")
    for field, name in (("x", plot.x), ("y", plot.y)):
        if "mean" not in about[name] or about[name]["kind"] == Kind.ARRAY:
            raise _refused(field, f"the column {name!r} is {about[name]['kind']}; a scatter plot takes numbers")
    color = _colour(dataset, plot, about)
    names = list(dict.fromkeys([plot.x, plot.y, *([color] if color else [])]))
    rows = dataset.range(plot.split)
    table = _sampled(dataset, names, rows, plot.limit or DEFAULT_POINTS)
    x, y = (as_numbers(table.column(name)).to_numpy() for name in (plot.x, plot.y))
    groups: dict[str, NDArray[np.bool_]] = {}
    if color is not None:
        values = table.column(color).to_pylist()
        levels = [*(entry["value"] for entry in about[color]["categories"]), None]
        chosen = [np.array([value == level for value in values]) for level in levels]
        names = told_apart(_shown(level) for level in levels)
        groups = {name: rows for name, rows in zip(names, chosen, strict=True) if rows.any()}
    return Points((plot.x, x), (plot.y, y), color, groups, len(table), rows.stop - rows.start)


def _colour(dataset: Dataset, plot: Plot, about: Mapping[str, Any]) -> str | None:
    """The column asked for; else the target, where it has few classes and is not drawn already."""
    name = plot.color or dataset.description.target
    if name is None or (plot.color is None and name in (plot.x, plot.y)):
        return None
    levels = about[name].get("distinct", 0) if "categories" in about[name] else 0
    if 0 < levels <= MOST_COLOURS:
        return name
    if plot.color is None:
        return None
    raise _refused("color", f"the column {name!r} has no classes, or more than {MOST_COLOURS}")


def _sampled(dataset: Dataset, names: list[str], rows: slice, most: int) -> pa.Table:
    """Evenly spaced rows, at most so many, of which no more than a block is in memory."""
    stride = max(1, -(-(rows.stop - rows.start) // most))
    picked = []
    for start, block in dataset.blocks(names, rows, _BLOCK_ROWS):
        first = -(start - rows.start) % stride
        chosen = np.zeros(len(block), bool)
        chosen[first::stride] = True
        picked.append(block.filter(pa.array(chosen)))
    return pa.concat_tables(picked) if picked else pa.table({name: pa.array([], pa.float64()) for name in names})


def _images(dataset: Dataset, plot: Plot, about: Mapping[str, Any]) -> Grid:
    name = plot.x or next(iter(dataset.description.array_files), None)
    if name is None or dataset.kinds[name] is not Kind.ARRAY:
        raise _refused("x", "images come from an array column, which this is not" if name else "there are no images")
    if (plot.limit or 0) > MOST_IMAGES:
        raise _refused("limit", f"at most {MOST_IMAGES} images are drawn at a time")
    rows = dataset.range(plot.split, 0, plot.limit or DEFAULT_IMAGES)
    images = _pixels(name, dataset.array(name)[rows])
    target = dataset.description.target
    labels: tuple[str, ...] = ()
    if target is not None and target not in dataset.description.array_files:
        labels = tuple(_shown(row[target]) for row in dataset.read("all", rows.start, rows.stop - rows.start))
    return Grid(images, labels)


def _pixels(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Images as (n, height, width) or (n, height, width, 3 or 4), floats moved into 0…1."""
    shape = values.shape[1:]
    if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3, 4):
        values = np.moveaxis(values, 1, 3)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim not in (3, 4) or (values.ndim == 4 and values.shape[3] not in (3, 4)):
        raise _refused("x", f"entries of {name!r} have the shape {list(shape)}, which is no image")
    if values.dtype == np.uint8 or not values.size:
        return values
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / ((high - low) or 1.0))


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    text = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else text[:23] + "…"


def _refused(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(Fault(field, message))


_DRAW = {"histogram": _histogram, "scatter": _scatter, "images": _images}
