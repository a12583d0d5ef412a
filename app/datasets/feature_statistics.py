"""Feature statistics: what an encoding learns from the training rows, block by block in one pass.

Each kind of column has its own; at the end it makes the feature, and says mean and standard deviation of the columns
that the feature encodes to.
"""

from collections import Counter
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.datasets.feature_encoding import (
    MOST_LEVELS,
    ArrayFeature,
    CategoricalFeature,
    Feature,
    Matrix,
    NumericFeature,
)
from app.datasets.kinds import as_numbers
from app.datasets.moments import Moments
from app.datasets.offsets import offsets
from app.errors import Fault, InvalidSpec

MOST_COUNTED = 1_000_000
"""Distinct texts that are counted; a column with more of them is no category."""


class FeatureStatistics(Protocol):
    """Takes in the values of one column, and makes its feature."""

    name: str

    def add(self, values: Any) -> None:
        """Take in the values of a block of training rows."""

    def feature(self) -> Feature:
        """The feature that has been learned."""

    def mean_and_std(self) -> tuple[Matrix, Matrix]:
        """Of the columns that the feature encodes to, over the training rows."""

    def offsets(self, always: bool) -> Matrix:
        """What to subtract from these columns where they are not standardised (see `offsets`).

        Of numbers alone: ones and zeros, bytes and arrays of float32 lose nothing.
        """


class NumberStatistics:
    """Numbers and booleans: the mean of those that are there takes the place of those that are not."""

    def __init__(self, name: str, boolean: bool, missing_indicator: bool) -> None:
        self.name = name
        self._boolean = boolean
        self._missing_indicator = missing_indicator
        self._moments = Moments(1)
        self._rows = 0

    def add(self, values: pa.ChunkedArray) -> None:
        """See `FeatureStatistics`."""
        self._rows += len(values)
        self._moments.add(as_numbers(values.drop_null()).to_numpy()[:, None])

    def feature(self) -> NumericFeature:
        """See `FeatureStatistics`."""
        if not self._moments.count:
            message = f"the column {self.name!r} has no value in any training row; leave it out"
            raise InvalidSpec(Fault("features", message))
        mean, misses = float(self._moments.mean[0]), self._moments.count < self._rows
        return NumericFeature(self.name, mean, self._boolean, self._indicates, misses)

    def mean_and_std(self) -> tuple[Matrix, Matrix]:
        """See `FeatureStatistics`."""
        mean, std = self._moments.mean, self._moments.std(self._rows)
        if not self._indicates:
            return mean, std
        share = 1 - self._moments.count / self._rows
        return np.append(mean, share), np.append(std, (share * (1 - share)) ** 0.5)

    def offsets(self, always: bool) -> Matrix:
        """See `FeatureStatistics`."""
        found = offsets(self._moments.mean, self._moments.std(), always)
        return np.append(found, 0.0) if self._indicates else found

    @property
    def _indicates(self) -> bool:
        # Where no training row misses the value, nothing could train the indicator's weight.
        return self._missing_indicator and self._moments.count < self._rows


class CategoryStatistics:
    """Categories: how often each level occurs."""

    def __init__(self, name: str, max_categories: int | None) -> None:
        self.name = name
        self._most = max_categories
        self._counts: Counter[str] = Counter()
        self._rows = 0

    def add(self, values: pa.ChunkedArray) -> None:
        """See `FeatureStatistics`."""
        self._rows += len(values)
        found = pc.value_counts(values.drop_null())
        self._counts.update(dict(zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True)))
        if len(self._counts) > MOST_COUNTED:
            raise self._refused(f"more than {MOST_COUNTED}")

    def feature(self) -> CategoricalFeature:
        """See `FeatureStatistics`."""
        if not self._counts or len(self._levels()) > MOST_LEVELS:
            raise self._refused(str(len(self._counts)))
        counts = self._kept_counts()
        total = sum(counts)
        return CategoricalFeature(
            self.name,
            tuple(self._levels()),
            tuple(count / total for count in counts),
            total < self._rows,
            len(counts) > len(self._levels()),
        )

    def mean_and_std(self) -> tuple[Matrix, Matrix]:
        """See `FeatureStatistics`."""
        counts = self._kept_counts()
        mean = np.array([*counts, self._rows - sum(counts)]) / self._rows
        return mean, np.sqrt(mean * (1 - mean))

    def offsets(self, always: bool) -> Matrix:
        """See `FeatureStatistics`."""
        return np.zeros(len(self._kept_counts()) + 1)

    def _levels(self) -> list[str]:
        """The levels that get a column, in order: the most frequent ones where there are too many."""
        if self._most is None or len(self._counts) <= self._most:
            return sorted(self._counts)
        ranked = sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return sorted(level for level, _ in ranked[: self._most])

    def _kept_counts(self) -> list[int]:
        """The counts of the levels that get a column, and of all others together where there are any."""
        levels = self._levels()
        kept = [self._counts[level] for level in levels]
        return kept if len(levels) == len(self._counts) else [*kept, sum(self._counts.values()) - sum(kept)]

    def _refused(self, number: str) -> InvalidSpec:
        message = f"the column {self.name!r} has {number} levels in the training rows; {MOST_LEVELS} can be encoded"
        return InvalidSpec(Fault("features", f"{message}. Leave it out, or fold the rare ones with max_categories"))


class ArrayStatistics:
    """Arrays: their shape is known, and their moments are only needed to standardise."""

    def __init__(self, feature: ArrayFeature, standardize: bool) -> None:
        self.name = feature.name
        self._feature = feature
        self._moments = Moments(feature.width) if standardize else None

    def add(self, values: NDArray[Any]) -> None:
        """See `FeatureStatistics`."""
        if self._moments is not None:
            self._moments.add(self._feature.encode(values))

    def feature(self) -> ArrayFeature:
        """See `FeatureStatistics`."""
        return self._feature

    def mean_and_std(self) -> tuple[Matrix, Matrix]:
        """See `FeatureStatistics`."""
        assert self._moments is not None
        return self._moments.mean, self._moments.std()

    def offsets(self, always: bool) -> Matrix:
        """See `FeatureStatistics`."""
        return np.zeros(self._feature.width)
