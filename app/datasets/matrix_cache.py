"""MatrixCache: encoded matrices on disk, mapped into memory and shared by all jobs with the same encoding.

matrices/<dataset id>/<key>/matrix.npy      the key is a hash of the encoding and of the rows

A matrix is written block by block, so that it may be larger than memory, and appears whole or not at all. Together they
keep within a budget: those that were used longest ago go first. One that a job has mapped may go too; its bytes are
freed when the job is over. What is smaller than `LEAST_BYTES` is encoded sooner than it is found, and stays in memory.
"""

import hashlib
import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from app.datasets.array_writer import ArrayWriter
from app.datasets.encoding import PIXEL_LEVELS, Design, Encoding
from app.datasets.splitting import Part
from app.storage import Storage
from app.tally import Tally

log = structlog.get_logger(__name__)

COLLECTION = "matrices"
MATRIX_FILE = "matrix.npy"
LEAST_BYTES = 4 << 20
MEMORY_BYTES = 1 << 30

Mapped = NDArray[np.float32] | NDArray[np.uint8]


class MatrixCache:
    """Finds a matrix, or encodes it and keeps it.

    `memory_bytes` is how much of a mapped matrix whoever reads it may have in memory.
    """

    def __init__(self, storage: Storage, budget_bytes: int, memory_bytes: int = MEMORY_BYTES) -> None:
        self.memory_bytes = memory_bytes
        self._storage = storage
        self._budget_bytes = budget_bytes
        self._tally = Tally(storage.root)

    def design(self, encoding: Encoding, part: Part) -> Design:
        """The matrix of some rows, mapped from disk where it is large. Shapes: (n, d), float32 or uint8."""
        dtype = np.dtype(np.uint8 if encoding.are_pixels else np.float32)
        shape = len(part), len(encoding.names)
        size = math.prod(shape) * dtype.itemsize
        if size < LEAST_BYTES or (encoding.are_pixels and isinstance(part.rows, slice)):
            return encoding.matrix(part)
        scale = 1.0 / PIXEL_LEVELS if encoding.are_pixels else 1.0
        key = f"{COLLECTION}/{part.dataset.folder.name}/{_digest(encoding, part)}"
        found = self._found(key, shape, dtype)
        self._tally.add(**{"matrix_misses" if found is None else "matrix_hits": 1})
        return Design(found if found is not None else self._made(key, encoding, part, size), scale)

    def bytes(self, dataset_id: str) -> int:
        """What the matrices of a dataset occupy."""
        return sum(size for _, size, _ in self._entries(dataset_id))

    def forget(self, dataset_id: str) -> None:
        """Free the matrices of a dataset."""
        self._storage.delete(f"{COLLECTION}/{dataset_id}")

    def _found(self, key: str, shape: tuple[int, int], dtype: np.dtype[Any]) -> Mapped | None:
        folder = self._storage.path(key)
        try:
            os.utime(folder)
        except FileNotFoundError:
            return None
        try:
            found = _mapped(folder)
            if (found.shape, found.dtype) == (shape, dtype) and found.flags.c_contiguous:
                return found
            reason = f"{found.shape} {found.dtype}"
        except Exception as error:  # noqa: BLE001  there are as many as there are ways to damage a file
            reason = repr(error)
        log.warning("an encoded matrix on disk is damaged and is encoded again", key=key, reason=reason)
        self._storage.delete(key)
        return None

    def _made(self, key: str, encoding: Encoding, part: Part, size: int) -> Mapped:
        self._make_room(size)
        with self._storage.stage() as stage:
            with ArrayWriter("matrix", stage.path / MATRIX_FILE) as writer:
                for _, block in encoding.blocks(part):
                    writer.write(block)
                writer.finish()
            mapped = _mapped(stage.path)
            # Beyond the budget it serves this job alone: the file goes now, its bytes when nobody maps it any more.
            if size <= self._budget_bytes:
                # Another worker that encoded the same beside this one may have been quicker.
                with suppress(FileExistsError):
                    stage.publish(key)
        return mapped

    def _make_room(self, size: int) -> None:
        datasets = _names(self._storage.root / COLLECTION)
        entries = sorted(entry for dataset_id in datasets for entry in self._entries(dataset_id))
        excess = sum(stored for _, stored, _ in entries) + size - self._budget_bytes
        for _, stored, key in entries:
            if excess <= 0:
                return
            self._storage.delete(key)
            excess -= stored

    def _entries(self, dataset_id: str) -> list[tuple[float, int, str]]:
        """When each matrix was used last, its size, and its key."""
        entries = []
        for name in _names(self._storage.root / COLLECTION / dataset_id):
            key = f"{COLLECTION}/{dataset_id}/{name}"
            folder = self._storage.root / key
            try:
                entries.append((folder.stat().st_mtime, (folder / MATRIX_FILE).stat().st_size, key))
            except (FileNotFoundError, NotADirectoryError):
                continue  # another worker has just freed it, or it is no matrix
        return entries


def _names(folder: Path) -> list[str]:
    """What a folder holds: nothing if it was removed meanwhile, where `Path.glob` raises before Python 3.13."""
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _mapped(folder: Path) -> Mapped:
    mapped: Mapped = np.load(folder / MATRIX_FILE, mmap_mode="r")
    return mapped


def _digest(encoding: Encoding, part: Part) -> str:
    """What decides about the matrix: the features with their statistics, and which rows."""
    about = {name: value for name, value in encoding.to_json().items() if name != "target"}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    if isinstance(part.rows, slice):
        digest.update(f"{part.rows.start}:{part.rows.stop}".encode())
    else:
        digest.update(np.ascontiguousarray(part.rows, "<i8").data)
    return digest.hexdigest()
