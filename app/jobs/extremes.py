"""Extremes: the few epochs of a long history that draw the same curves as all of them."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Epochs = NDArray[np.int64]
Curve = tuple[Epochs, NDArray[np.float64]]
"""Epochs in order, and what was measured after each."""


def sampled(rows: Iterable[tuple[int, int, *tuple[float | None, ...]]], measures: int, points: int) -> list[int]:
    """At most `points` of the epochs: the first and the last, and of each curve those of its extremes.

    A row is an epoch, a candidate, and so many measurements; rows are in the order of their epochs. The history is cut
    into stretches, of which each curve has its least and its greatest value; into one only where there is no room for
    more, and there the curves that come first go before the others: the first measurement of every candidate.
    """
    fields = [("epoch", np.int64), ("candidate", np.int64), ("measured", np.float64, (measures,))]
    table = np.fromiter(((row[0], row[1], row[2:]) for row in rows), np.dtype(fields))
    epochs = np.unique(table["epoch"])
    if len(epochs) <= points:
        return list(epochs.tolist())
    curves = list(_curves(table))
    stretches = max(1, (points - 2) // max(1, 2 * len(curves)))
    bounds = epochs[[stretch * len(epochs) // stretches for stretch in range(1, stretches)]]
    chosen = {int(epochs[0]), int(epochs[-1])}
    for curve in curves:
        for epoch in _extremes(curve, bounds):
            if len(chosen) < points:
                chosen.add(epoch)
    others = np.setdiff1d(epochs, sorted(chosen))
    return sorted(chosen.union(_spread(others.tolist(), points - len(chosen))))


def _curves(table: NDArray[np.void]) -> Iterator[Curve]:
    """Each measurement of each candidate, where there is one."""
    candidates = [table[table["candidate"] == candidate] for candidate in np.unique(table["candidate"])]
    for number in range(table["measured"].shape[1]):
        for own in candidates:
            values = own["measured"][:, number]
            there = np.isfinite(values)
            if there.any():
                yield own["epoch"][there], values[there]


def _extremes(curve: Curve, bounds: Epochs) -> Iterator[int]:
    """Of each stretch between these epochs, those of the least and of the greatest value."""
    epochs, values = curve
    cuts = np.searchsorted(epochs, bounds)
    for own, part in zip(np.split(epochs, cuts), np.split(values, cuts), strict=True):
        if len(own):
            yield int(own[part.argmin()])
            yield int(own[part.argmax()])


def _spread(epochs: Sequence[int], count: int) -> list[int]:
    """So many of the epochs, evenly spaced: a smooth curve has few extremes."""
    return [epochs[(2 * number + 1) * len(epochs) // (2 * count)] for number in range(count)] if epochs else []
