"""Slots: how many of a kind may be under way at once. Who comes when all are taken is told to come again."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from app.errors import TooManyAtOnce

RETRY_SECONDS = 5


class Slots:
    """A number of slots."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._lock = Lock()
        self.taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot, if one is free."""
        with self._lock:
            if self.taken >= self._limit:
                raise TooManyAtOnce(self._limit, self._what, RETRY_SECONDS)
            self.taken += 1
        try:
            yield
        finally:
            with self._lock:
                self.taken -= 1
