"""A flag that a signal handler can set."""

import time

POLL_SECONDS = 0.02


class Flag:
    """What threading.Event is, without its lock: a signal may come to the thread that holds it, and wait for ever."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Set it, for good."""
        self._is_set = True

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Sleep until it is set, at most `seconds`; says whether it was."""
        deadline = time.monotonic() + seconds
        while not self._is_set and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, POLL_SECONDS))
        return self._is_set
