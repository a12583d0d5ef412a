"""Profiles of numbers, fed chunk by chunk.

Whole numbers within a small range are counted, which gives everything exactly. Of other columns a sample of evenly
spaced rows is kept: the whole column up to `SAMPLE_ROWS` values, and beyond that what comes from the sample is named as
approximate. Mean, standard deviation and bounds are always exact.
"""

from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.datasets.distinct import Distinct, hashed_numbers
from app.datasets.moments import Moments

SAMPLE_ROWS = 1_000_000
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 20
MOST_LISTED = 20
"""Whole numbers with at most so many distinct values are listed with their counts, as classes would be."""
WIDEST_COUNTED = 65_536
EXACT_INTEGERS = 2**53
"""Beyond this a float cannot tell a whole number from the next."""
HANDED_ROWS = 1 << 18

Profile = dict[str, Any]


class NumberProfile(Protocol):
    """Takes in the values that are there, then describes them."""

    def add(self, values: pa.Array) -> None:
        """Take in some values, none of them missing."""

    def describe(self) -> Profile:
        """What is known of all values; there has been one at least."""


class CountedNumbers:
    """Whole numbers from `low` to `high`, counted one by one."""

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._counts = np.zeros(high - low + 1, np.int64)

    def add(self, values: pa.Array) -> None:
        """See `NumberProfile`."""
        self._counts += np.bincount(values.to_numpy() - self._low, minlength=len(self._counts))

    def hand_over(self, other: "SampledNumbers") -> None:
        """Give every value that was counted to another profile."""
        ranks = np.cumsum(self._counts)
        rows = int(ranks[-1])
        for start in range(0, rows, HANDED_ROWS):
            levels = np.searchsorted(ranks, np.arange(start, min(start + HANDED_ROWS, rows)), "right")
            other.add(pa.array((levels + self._low).astype(np.float64)))

    def describe(self) -> Profile:
        """See `NumberProfile`."""
        return described_counts(self._low, self._counts)


class WholeNumbers:
    """Numbers whose type admits fractions: counted until the first one comes, sampled from then on.

    So a column of whole numbers has the same profile in formats that keep it as integers and in others.
    """

    def __init__(self, low: int, high: int, rows: int) -> None:
        self._counted = CountedNumbers(low, high)
        self._sampled: SampledNumbers | None = None
        self._rows = rows

    def add(self, values: pa.Array) -> None:
        """See `NumberProfile`."""
        numbers = values.to_numpy()
        if self._sampled is None and (numbers == np.rint(numbers)).all():
            self._counted.add(pa.array(numbers.astype(np.int64)))
            return
        if self._sampled is None:
            self._sampled = SampledNumbers(self._rows)
            self._counted.hand_over(self._sampled)
        self._sampled.add(values)

    def describe(self) -> Profile:
        """See `NumberProfile`."""
        return (self._sampled or self._counted).describe()


class SampledNumbers:
    """Numbers of any kind."""

    def __init__(self, rows: int) -> None:
        self._stride = max(1, -(-rows // SAMPLE_ROWS))
        self._rows = 0
        self._moments = Moments(1)
        self._bounds = np.inf, -np.inf
        self._sample: list[NDArray[np.float64]] = []
        self._distinct = Distinct()

    def add(self, values: pa.Array) -> None:
        """See `NumberProfile`."""
        numbers = values.to_numpy().astype(np.float64)
        if not len(numbers):
            return
        self._moments.add(numbers[:, None])
        self._bounds = min(self._bounds[0], numbers.min()), max(self._bounds[1], numbers.max())
        self._sample.append(numbers[-self._rows % self._stride :: self._stride].copy())
        if self._stride > 1:
            self._distinct.add(hashed_numbers(numbers))
        self._rows += len(numbers)

    def describe(self) -> Profile:
        """See `NumberProfile`."""
        sample = np.concatenate(self._sample)
        self._sample.clear()
        sample.sort()
        low, high = self._bounds
        exact = self._stride == 1
        mean, std = float(self._moments.mean[0]), float(self._moments.std()[0])
        about = {"mean": mean, "std": std, "min": float(low), "max": float(high)}
        quantiles = {str(q): _sorted_quantile(sample, q) for q in QUANTILES}
        starts = np.flatnonzero(np.concatenate([[True], sample[1:] != sample[:-1]]))
        distinct = len(starts) if exact else self._distinct.count()
        edges = np.linspace(low, high, BINS + 1)
        ranks = np.searchsorted(sample, edges[1:-1], "left")
        counts = np.diff(np.concatenate([[0], ranks, [len(sample)]])) * (self._rows / len(sample))
        return {
            **about,
            "quantiles": quantiles,
            "distinct": distinct,
            "histogram": _histogram(float(low), float(high), np.rint(counts)),
            **({} if exact else {"quantiles_approximate": True, "histogram_approximate": True}),
            **({} if exact or self._distinct.is_exact else {"distinct_approximate": True}),
            **(_listed(sample[starts], np.diff([*starts, len(sample)])) if exact and distinct <= MOST_LISTED else {}),
        }


def numbers_profile(kind: pa.DataType, rows: int, bounds: tuple[int, int] | None) -> NumberProfile:
    """What suits a column of so many rows; `bounds` are its least and greatest value, where both are whole."""
    if bounds is None or bounds[1] - bounds[0] >= WIDEST_COUNTED or max(map(abs, bounds)) > EXACT_INTEGERS:
        return SampledNumbers(rows)
    return CountedNumbers(*bounds) if kind == pa.int64() else WholeNumbers(*bounds, rows)


def described_counts(low: int, counts: NDArray[np.int64]) -> Profile:
    """Everything about whole numbers from `low` on, from how often each occurs."""
    levels = np.arange(low, low + len(counts))
    rows = int(counts.sum())
    mean = float(counts @ levels) / rows
    seen = np.flatnonzero(counts)
    ranks = np.cumsum(counts)
    return {
        "mean": mean,
        "std": float(np.sqrt(counts @ (levels - mean) ** 2 / rows)),
        "min": float(levels[seen[0]]),
        "max": float(levels[seen[-1]]),
        "quantiles": _ranked_quantiles(levels, ranks),
        "distinct": len(seen),
        "histogram": _counted_histogram(levels[seen], counts[seen]),
        **(_listed(levels[seen], counts[seen]) if len(seen) <= MOST_LISTED else {}),
    }


def _counted_histogram(levels: NDArray[np.int64], counts: NDArray[np.int64]) -> Profile:
    low, high = float(levels[0]), float(levels[-1])
    if low == high:
        return _histogram(low, high, np.concatenate([np.zeros(BINS - 1), counts]))
    bins = np.searchsorted(np.linspace(low, high, BINS + 1)[1:-1], levels, "right")
    return _histogram(low, high, np.bincount(bins, counts, BINS))


def _histogram(low: float, high: float, counts: NDArray[Any]) -> Profile:
    """Bins of one width from `low` to `high`, the last one closed. All in one bin where there is no width."""
    if low == high:
        return {"start": low, "width": 0.0, "counts": [int(counts.sum())]}
    return {"start": low, "width": (high - low) / BINS, "counts": [int(count) for count in counts]}


def _listed(values: NDArray[Any], counts: NDArray[Any]) -> Profile:
    """The values with their counts, in order, where all of them are whole."""
    if (values != np.rint(values)).any():
        return {}
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    return {"categories": [{"value": int(value), "count": int(count)} for value, count in pairs]}


def _sorted_quantile(values: NDArray[np.float64], q: float) -> float:
    """The quantile by linear interpolation, as numpy.quantile, of values that are sorted already."""
    position = q * (len(values) - 1)
    low = int(position)
    high = min(low + 1, len(values) - 1)
    return float(values[low] + (values[high] - values[low]) * (position - low))


def _ranked_quantiles(levels: NDArray[np.int64], ranks: NDArray[np.int64]) -> dict[str, float]:
    """The same for all of `QUANTILES`, of values that are counted."""
    positions = np.array(QUANTILES) * (int(ranks[-1]) - 1)
    below = levels[np.searchsorted(ranks, np.floor(positions), "right")]
    above = levels[np.searchsorted(ranks, np.ceil(positions), "right")]
    found = below + (above - below) * (positions - np.floor(positions))
    return dict(zip(map(str, QUANTILES), found.tolist(), strict=True))
