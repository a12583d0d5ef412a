"""An absence: this process did not run for a while, or could not write, or the database's clock was moved.

Its machine slept, or it was paused, or the database was down or held by others. Whoever was away cannot tell who else
was: the leases of all workers beside it have run out meanwhile, and each is about to renew its own. So for a moment
nobody is judged.
"""

MOST_LATE_SIGNS = 5
"""Of signs of life that are all late, for whatever reason, one counts after so many that do not."""


class Absence:
    """Notices gaps between one sign of life and the next: what this process writes at the database's time."""

    def __init__(self, lease_seconds: float) -> None:
        self._half_seconds = lease_seconds / 2
        self._seen_at: float | None = None
        self._ends_at = 0.0
        self._late_signs = 0

    def is_over(self, now: float) -> bool:
        """Note a sign of life; whether others may be judged: not for half a lease after one that was so late."""
        gap = 0.0 if self._seen_at is None else abs(now - self._seen_at)
        self._seen_at = now
        self._late_signs = self._late_signs + 1 if gap > self._half_seconds else 0
        latest = now + self._half_seconds
        self._ends_at = latest if 0 < self._late_signs <= MOST_LATE_SIGNS else min(self._ends_at, latest)
        return now >= self._ends_at
