"""Lanes: the threads in which uploads become datasets, few at a time, so that they leave the processor to others.

Each keeps the processor busy for as long as it lasts. Thirty of them side by side are no sooner done than one after the
other, and everyone else waits for all thirty. What is large has a lane of its own: nobody small waits behind it.
"""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from app.cores import cores

SMALL_BYTES = 4 * 2**20

Arguments = ParamSpec("Arguments")
Found = TypeVar("Found")


class Lanes:
    """Two lanes, each as wide as half of the cores."""

    def __init__(self) -> None:
        width = max(1, cores() // 2)
        self._small, self._large = CapacityLimiter(width), CapacityLimiter(width)

    async def run(
        self, size: int, work: Callable[Arguments, Found], *given: Arguments.args, **named: Arguments.kwargs
    ) -> Found:
        """Do the work on so many bytes in a thread, once it is its turn."""
        lane = self._small if size <= SMALL_BYTES else self._large
        return await run_sync(partial(work, *given, **named), limiter=lane)
