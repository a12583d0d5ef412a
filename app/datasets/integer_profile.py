"""Profiles of whole numbers that float64 cannot tell apart: identifiers, nanoseconds since 1970, hashes.

All is done with their distances from the least of them, which are exact in 64 bits, and in float64 too up to 2⁵³.
Least, greatest and distinct values are those of the integers; mean, quantiles and histogram are the nearest floats.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.datasets.distinct import Distinct, hashed_integers
from app.datasets.number_profile import MOST_LISTED, SAMPLE_ROWS, Profile, SampledNumbers


class LargeIntegers:
    """Integers from `low` to `high`, of which one at least is beyond 2⁵³."""

    def __init__(self, low: int, high: int, rows: int) -> None:
        self._low, self._high = low, high
        self._distances = SampledNumbers(rows)
        self._kept: list[NDArray[np.uint64]] | None = [] if rows <= SAMPLE_ROWS else None
        self._distinct = Distinct()

    def add(self, values: pa.Array) -> None:
        """See `NumberProfile`."""
        # In unsigned arithmetic, which wraps around: the distance may be more than an int64 holds.
        distances = values.to_numpy().view(np.uint64) - np.int64(self._low).view(np.uint64)
        self._distances.add(pa.array(distances.astype(np.float64)))
        if self._kept is None:
            self._distinct.add(hashed_integers(distances))
        else:
            self._kept.append(distances.copy())

    def describe(self) -> Profile:
        """See `NumberProfile`."""
        about, low = self._distances.describe(), float(self._low)
        histogram = {**about["histogram"], "start": low}
        about |= {"mean": low + about["mean"], "min": self._low, "max": self._high, "histogram": histogram}
        about["quantiles"] = {name: low + value for name, value in about["quantiles"].items()}
        for name in ("categories", "distinct_approximate"):
            about.pop(name, None)
        return about | self._levels()

    def _levels(self) -> Profile:
        """How many there are, and the integers with their counts where they are few."""
        if self._kept is None:
            approximate = {} if self._distinct.is_exact else {"distinct_approximate": True}
            return {"distinct": self._distinct.count(), **approximate}
        levels, counts = np.unique(np.concatenate(self._kept), return_counts=True)
        self._kept.clear()
        pairs = zip(levels.tolist(), counts.tolist(), strict=True)
        if len(levels) > MOST_LISTED:
            return {"distinct": len(levels)}
        listed = [{"value": self._low + distance, "count": count} for distance, count in pairs]
        return {"distinct": len(levels), "categories": listed}
