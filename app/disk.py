"""The disk's budget: what the data directory may take, and what must stay free beside it.

A disk that is full stops everything on it, so new data is refused before. What frees room, or is small (the state of a
job, its history), is never refused.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from app.errors import StorageFull

MEASURED_SECONDS = 30.0
"""How long a measurement of the data directory holds; what this process adds meanwhile is counted."""


class Disk:
    """Knows how much the data directory holds, and whether more may come."""

    def __init__(self, root: Path, budget_bytes: int | None = None, reserve_bytes: int = 0) -> None:
        self._root = root
        self._budget_bytes = budget_bytes
        self._reserve_bytes = reserve_bytes
        self._used = 0
        self._measured_at = -MEASURED_SECONDS
        self._lock = Lock()

    def check(self, more: int = 0) -> None:
        """Refuse `more` bytes that go beyond the budget, or leave less free than the reserve."""
        if self._reserve_bytes and shutil.disk_usage(self._root).free - more < self._reserve_bytes:
            raise StorageFull(
                f"Less than {_mebibytes(self._reserve_bytes)} would stay free on the disk under the data directory; "
                "free some space and try again."
            )
        if self._budget_bytes is not None and self.used() + more > self._budget_bytes:
            raise StorageFull(
                f"The data directory may hold {_mebibytes(self._budget_bytes)}, and holds {_mebibytes(self.used())}; "
                "delete datasets, models or jobs that are not needed and try again."
            )

    @contextmanager
    def lend(self) -> Iterator[Callable[[int], None]]:
        """Room for files that are there for a while: what is taken piece by piece counts until the block ends."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            self.check(size)
            self.changed(size)
            taken += size

        try:
            yield take
        finally:
            self.changed(-taken)

    def used(self) -> int:
        """What the files of the data directory occupy together."""
        with self._lock:
            if time.monotonic() - self._measured_at >= MEASURED_SECONDS:
                self._used = sum(sizes(self._root))
                self._measured_at = time.monotonic()
            return self._used

    def changed(self, size: int) -> None:
        """Count what has come, or with a minus sign what has gone, since the measurement."""
        with self._lock:
            self._used = max(0, self._used + size)


def sizes(folder: Path) -> Iterator[int]:
    """Of every file in a folder, but those that are removed meanwhile."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from sizes(Path(entry.path))
                else:
                    yield _size(entry)
    except (FileNotFoundError, NotADirectoryError):
        return  # removed meanwhile, or a single file, which is small


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
