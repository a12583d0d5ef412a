"""The tally: counters shared by every process of one data directory, which outlive each of them.

A worker counts what it does here, and the API process shows the sums in its metrics. They are 64-bit integers in one
small file. A process that dies takes nothing along, and no count has to be sent anywhere.
"""

import errno
import fcntl
import os
import struct
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

FILE = "tally"
TRIES = 200
PAUSE_SECONDS = 0.001


class Count(StrEnum):
    """What is counted. The order is that in the file: new ones come last."""

    EPOCHS = "epochs"
    SAMPLES = "samples"
    WORKER_RESTARTS = "worker_restarts"
    MATRIX_HITS = "matrix_hits"
    MATRIX_MISSES = "matrix_misses"


_NUMBERS = struct.Struct(f"<{len(Count)}Q")


class Tally:
    """Adds to the counters of a data directory, and reads them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def add(self, **counts: int) -> None:
        """Add to some counters, by their names. A count that cannot be written is lost, and nothing else is."""
        try:
            # Opened each time: a lock belongs to the open file, which a fork would share.
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._lock(file)
                sums = self._read(file)
                for name, number in counts.items():
                    sums[Count(name)] += number
                os.pwrite(file, _NUMBERS.pack(*sums.values()), 0)
            finally:
                os.close(file)
        except OSError as error:
            log.warning("what was done could not be counted", reason=error.strerror, **counts)

    def sums(self) -> dict[Count, int]:
        """Every counter."""
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return dict.fromkeys(Count, 0)
        try:
            # The lock may be long in coming, and so few bytes are in one piece without it.
            return self._read(file)
        finally:
            os.close(file)

    def _lock(self, file: int) -> None:
        """Take the lock of a file, unless its holder is held up, which may be for hours.

        Raises:  BlockingIOError in that case
        """
        for _ in range(TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(PAUSE_SECONDS)
        raise BlockingIOError(errno.EAGAIN, "another process holds the lock for long")

    def _read(self, file: int) -> dict[Count, int]:
        # A file of an earlier version is shorter.
        numbers = _NUMBERS.unpack(os.pread(file, _NUMBERS.size, 0).ljust(_NUMBERS.size, b"\0"))
        return dict(zip(Count, numbers, strict=True))
