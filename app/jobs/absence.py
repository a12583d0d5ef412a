"""An absence: this process did not run for a while, since its machine slept, was paused, or had its clock moved.

Whoever was away cannot tell who else was: the leases of all workers beside it have run out meanwhile, and each is about
to renew its own. So for a moment nobody is judged.
"""

import time

MOST_LATE_LOOKS = 5
"""Of looks that are all late, for whatever reason, one counts after so many that do not."""


class Absence:
    """Notices gaps between one look and the next."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._looked_at = time.time()  # which goes on while a machine sleeps, as the database's clock does
        self._ends_at = 0.0
        self._late_looks = 0

    def is_over(self) -> bool:
        """Whether others may be judged: not for half of the seconds after a look that came so many seconds late."""
        now = time.time()
        gap, self._looked_at = now - self._looked_at, now
        self._late_looks = self._late_looks + 1 if gap > self._seconds else 0
        latest = now + self._seconds / 2
        self._ends_at = latest if 0 < self._late_looks <= MOST_LATE_LOOKS else min(self._ends_at, latest)
        return now >= self._ends_at
