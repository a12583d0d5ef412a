"""How many distinct values a column has, in bounded memory: exact while they are few, close to it when they are many.

The K smallest of the values' hashes are kept (Bar-Yossef et al., "Counting Distinct Elements in a Data Stream",
2002). Were the hashes spread evenly over [0, 1), the K-th smallest of n would be about K/n, so that n is about
(K − 1) / that hash, with a relative standard error of 1/√K: 0.8 % here.
"""

import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

KEPT = 16_384
_RANGE = 2.0**64

Hashes = NDArray[np.uint64]


class Distinct:
    """Counts distinct hashes, as many as `KEPT` of them exactly."""

    def __init__(self) -> None:
        self._smallest: Hashes = np.empty(0, np.uint64)

    @property
    def is_exact(self) -> bool:
        """Whether the count is no estimate."""
        return len(self._smallest) < KEPT

    def add(self, hashes: Hashes) -> None:
        """Take in the hashes of some values, repeated ones as well."""
        if not self.is_exact:
            hashes = hashes[hashes < self._smallest[-1]]
        self._smallest = np.unique(np.concatenate([self._smallest, hashes]))[:KEPT]

    def count(self) -> int:
        """How many distinct values there were."""
        if self.is_exact:
            return len(self._smallest)
        return round((KEPT - 1) / (float(self._smallest[-1]) / _RANGE))


def hashed_numbers(values: NDArray[np.float64]) -> Hashes:
    """A hash of each number; −0 is 0."""
    return _mixed((values + 0.0).view(np.uint64))


def hashed_integers(values: NDArray[np.uint64]) -> Hashes:
    """A hash of each whole number."""
    return _mixed(values)


def hashed_texts(values: Iterable[str]) -> Hashes:
    """A hash of each text, the same in every process."""
    return _mixed(np.fromiter((zlib.crc32(value.encode()) for value in values), np.uint64))


def _mixed(bits: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele et al., 2014): every bit depends on every bit."""
    mixed = bits + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
