"""Patience: waiting for what must come, with a limit that only guards against waiting for ever."""

import time
from collections.abc import Callable
from typing import TypeVar

LONGEST_SECONDS = 60.0
POLL_SECONDS = 0.02

T = TypeVar("T")


def until(holds: Callable[[], T], seconds: float = LONGEST_SECONDS) -> T:
    """Ask again and again until the answer is true; returns that answer."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"nothing of the kind within {seconds:g} seconds"
        time.sleep(POLL_SECONDS)
    return found
