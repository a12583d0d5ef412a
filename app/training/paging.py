"""Matrices larger than memory is to hold: which pages of their file are resident, and in what order rows come.

A page of a mapped file stays resident once it is touched, and rows in random order touch them all. So such rows are
shuffled by blocks: blocks of BLOCK_BYTES are dealt, in a seeded permutation, into groups of GROUP_BYTES, and the
rows of a group are permuted among themselves. Whoever reads, in whatever order, tells how many rows he has passed, and
after half a group the pages are let go of; they stay in the operating system's cache, from where they come back. A
touch may map a megabyte around (Linux does so with large folios), so blocks are larger than that.
"""

import mmap
import tempfile
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEMORY_BYTES = 1 << 30
"""Up to this size a matrix may be resident as a whole, unless told otherwise."""
GROUP_BYTES = 64 << 20
BLOCK_BYTES = 2 << 20


class Pages:
    """The pages of one mapped matrix X (n, d)."""

    def __init__(self, X: NDArray[Any], mapping: mmap.mmap) -> None:
        row_bytes = X.strides[0]
        self.block_rows = max(1, BLOCK_BYTES // row_bytes)
        self.group_rows = max(1, GROUP_BYTES // row_bytes)
        self.stretch = max(1, self.group_rows // 2)
        self._mapping = mapping
        self._passed = 0

    @classmethod
    def of(cls, X: NDArray[Any], memory_bytes: int) -> "Pages | None":
        """Those of a matrix that is mapped and larger than the memory; None where all may stay resident."""
        mapping = _mapping(X)
        return cls(X, mapping) if mapping is not None and X.nbytes > memory_bytes else None

    def passed(self, rows: int) -> None:
        """Note that so many rows were read; now and then let go of what is resident."""
        self._passed += rows
        if self._passed >= self.stretch:
            self._mapping.madvise(mmap.MADV_DONTNEED)
            self._passed = 0


def _mapping(X: Any) -> mmap.mmap | None:
    """The map that an array looks into, however many views lie between."""
    while isinstance(X, np.ndarray):
        X = X.base
    return X if isinstance(X, mmap.mmap) else None


def collected(blocks: Iterable[NDArray[np.float32]], shape: tuple[int, int], memory_bytes: int) -> NDArray[np.float32]:
    """A float32 matrix of that shape from blocks of its rows: in memory, else mapped from a file without a name.

    The file lies where `tempfile` puts it, and its bytes are free when the matrix is.

    Raises:  OSError if its disk is full
    """
    if 4 * shape[0] * shape[1] <= memory_bytes:
        matrix, start = np.empty(shape, np.float32), 0
        for block in blocks:
            matrix[start : start + len(block)] = block
            start += len(block)
        return matrix
    with tempfile.TemporaryFile() as file:
        for block in blocks:
            block.tofile(file)
        file.flush()
        return np.memmap(file, np.float32, "r", shape=shape)
