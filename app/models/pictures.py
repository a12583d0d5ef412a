"""Pictures of models: the weights of an image's classes, coefficients with their intervals, a confusion matrix.

Diverging colours are centred on zero: blue pulls down, red pushes up.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.datasets.feature_encoding import ArrayFeature
from app.drawing import drawn
from app.errors import Unsupported
from app.models.coefficients import coefficients
from app.models.predictor import Loaded
from app.models.weights import Matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BARS, FEWEST_BARS = 40, 10
PANELS_ABREAST = 5
LONGEST_NAME = 32
MOST_CLASSES = 50
_REFERENCE = "the reference:\nits weights are 0,\nthe others compare with it"


def weights(loaded: Loaded, media_type: str) -> bytes:
    """The class weights of an image model as a grid of images, the coefficients of a table's as bars."""
    features = loaded.encoding.features
    if len(features) != 1 or not isinstance(features[0], ArrayFeature) or len(features[0].shape) != 2:
        return drawn(partial(_bars, loaded, coefficients(loaded, None)["coefficients"]), media_type)
    if len(loaded.output_names) > MOST_CLASSES:
        raise Unsupported((), f"A picture has room for {MOST_CLASSES} classes; read the coefficients as JSON.")
    return drawn(partial(_grid, loaded, features[0].shape), media_type)


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str], accuracy: float, media_type: str) -> bytes:
    """A confusion matrix: rows are the true classes, columns the predicted ones, shades are shares of a row."""
    if len(classes) > MOST_CLASSES:
        raise Unsupported((), f"A picture has room for {MOST_CLASSES} classes; read the matrix as JSON.")
    return drawn(partial(_confusion, np.asarray(matrix), classes, accuracy), media_type)


def predicted_against_true(y: Matrix, y_hat: Matrix, rows: int, targets: Sequence[str], media_type: str) -> bytes:
    """Predictions of a linear model against the true values, with the line on which both are equal."""
    return drawn(partial(_scatter, y, y_hat, rows, targets), media_type)


def _confusion(counts: NDArray[np.int64], classes: Sequence[str], accuracy: float, figure: "Figure") -> None:
    side = 2.5 + 0.55 * len(classes)
    figure.set_size_inches(side + 1, side)
    axes = figure.add_subplot()
    axes.spines[:].set_visible(True)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, f"{count}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true", title=f"accuracy {accuracy:.4f}")


def _scatter(y: Matrix, y_hat: Matrix, rows: int, targets: Sequence[str], figure: "Figure") -> None:
    figure.set_size_inches(5 * len(targets), 4.8)
    if len(y) < rows:
        figure.suptitle(f"{len(y):,} of {rows:,} rows", fontsize=9, color="0.55")
    for j, name in enumerate(targets):
        axes = figure.add_subplot(1, len(targets), j + 1)
        # Few points are to be seen, many are to show where they are dense.
        axes.scatter(y[:, j], y_hat[:, j], s=np.clip(6000 / len(y), 6, 30), alpha=0.4, linewidths=0)
        low, high = min(y[:, j].min(), y_hat[:, j].min()), max(y[:, j].max(), y_hat[:, j].max())
        axes.plot([low, high], [low, high], color="black", linewidth=0.8)
        axes.locator_params(nbins=6)
        axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")


def _grid(loaded: Loaded, shape: tuple[int, ...], figure: "Figure") -> None:
    names = loaded.output_names
    images = loaded.weights.weights.T.reshape(len(names), *shape)
    columns = min(5, len(names))
    rows = -(-len(names) // columns)
    figure.set_size_inches(1.7 * columns + 1, 1.9 * rows + 0.3)
    # The few pixels that hardly any image uses may have the largest weights; they must not dim the others.
    reach = float(np.quantile(np.abs(images), 0.995)) or 1.0
    grid = figure.subplots(rows, columns, squeeze=False)
    for position, axes in enumerate(grid.flat):
        axes.set_axis_off()
        if position < len(names):
            axes.imshow(images[position], cmap="RdBu_r", vmin=-reach, vmax=reach)
            told = "\n(reference: 0)" if names[position] == loaded.coefficient_errors.reference else ""
            axes.set_title(_short(names[position]) + told, fontsize=9)
    bar = figure.colorbar(grid[0, 0].images[0], ax=grid, shrink=0.8, extend="both")
    bar.set_label("weight for each unit of a pixel", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _bars(loaded: Loaded, found: list[dict[str, Any]], figure: "Figure") -> None:
    """Points with intervals where they are known: one panel for each output, the largest effects first."""
    outputs = loaded.output_names[:MOST_CLASSES]
    spread, step = _spread(loaded)
    effect = np.abs(loaded.weights.weights * spread[:, None]).max(axis=1)
    across, down = min(PANELS_ABREAST, len(outputs)), -(-len(outputs) // PANELS_ABREAST)
    chosen = np.argsort(-effect, kind="stable")[: max(FEWEST_BARS, MOST_BARS // down)][::-1]
    figure.set_size_inches(2.6 + 3.0 * across, (1.2 + 0.28 * len(chosen)) * down)
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    panels = grid.ravel()[: len(outputs)]
    for axes in grid.ravel()[len(outputs) :]:
        axes.set_axis_off()
    for column, (axes, output) in enumerate(zip(panels, outputs, strict=True)):
        own = found[column * len(spread) : (column + 1) * len(spread)]
        _panel(axes, [own[i] for i in chosen], spread[chosen], output)
        told = any(row.get("ci_low") is not None for row in own)
        label = f"effect of {step}" + (", with 95 % interval" if told else "")
        axes.set_xlabel(label, fontsize=7)
        if output == loaded.coefficient_errors.reference:
            axes.text(
                0.5,
                0.5,
                _REFERENCE,
                transform=axes.transAxes,
                ha="center",
                va="center",
                fontsize=9,
                backgroundcolor="white",
            )
    panels[0].set_yticks(range(len(chosen)), [_short(loaded.encoding.names[i]) for i in chosen])
    for axes in grid[:, 0]:
        axes.tick_params(axis="y", labelsize=8)


def _short(name: str) -> str:
    """What tells long names apart is mostly at their ends."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"


def _panel(axes: Any, rows: list[dict[str, Any]], spread: Matrix, output: str) -> None:
    values = np.array([row["weight"] for row in rows]) * spread
    axes.axvline(0, color="0.6", linewidth=0.8)
    colours = ["tab:red" if value > 0 else "tab:blue" for value in values]
    axes.barh(range(len(rows)), values, height=0.55, color=colours, alpha=0.55)
    reach = [(i, row, s) for i, (row, s) in enumerate(zip(rows, spread, strict=True)) if row.get("ci_low") is not None]
    for i, row, s in reach:
        axes.plot([row["ci_low"] * s, row["ci_high"] * s], [i, i], color="black", linewidth=1.4)
    axes.set_title(_short(output), fontsize=10)
    axes.tick_params(axis="x", labelsize=7)


def _spread(loaded: Loaded) -> tuple[Matrix, str]:
    """What makes coefficients of different units comparable, and its name: a number's standard deviation, one level."""
    levels = np.array([f.kind == "categorical" for f in loaded.encoding.features for _ in f.names])
    level = ", or of one level" if levels.any() else ""
    scale, plain = loaded.encoding.scale, replace(loaded.encoding, mean=None, std=None).scale
    if (scale != plain).any():  # columns that were centred alone have the scale that all have
        return np.where(levels, 1.0, scale), f"one standard deviation{level}"
    if loaded.statistics is None:
        return np.ones(len(levels)), "one unit"
    # Without a standard deviation, a quarter of the range does nearly as well.
    quarter = (loaded.statistics.maximum - loaded.statistics.minimum) / 4
    return np.where(levels | (quarter <= 0), 1.0, quarter), f"a quarter of the training range{level}"
