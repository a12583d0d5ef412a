"""The rate limit: requests a second for each key, as a token bucket. Off unless it is set."""

import math
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from app import problems
from app.edge.probes import PROBES
from app.errors import TooManyRequests

BURST_SECONDS = 2.0
"""What a client has saved up while it was quiet: so many seconds' worth of requests."""

MOST_KEYS = 10_000


class TokenBuckets:
    """A bucket for each key: full at first, refilled at a rate, one token a request."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._burst = max(1.0, rate * BURST_SECONDS)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> float:
        """Take a token; returns 0, or how many seconds to wait until there is one."""
        now = self._clock()
        tokens, since = self._buckets.get(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self.rate)
        if tokens < 1.0:
            self._buckets[key] = tokens, now
            return (1.0 - tokens) / self.rate
        self._buckets[key] = tokens - 1.0, now
        if len(self._buckets) > MOST_KEYS:
            self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full again: they are as good as none. If too many are not, all begin anew."""
        full = self._burst / self.rate
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if now - bucket[1] < full}
        if len(self._buckets) > MOST_KEYS:
            self._buckets.clear()


class RateLimit:
    """The layer that holds each key to its rate."""

    def __init__(self, app: ASGIApp, rate: float, identify: Callable[[Scope], str]) -> None:
        self._app = app
        self._buckets = TokenBuckets(rate)
        self._identify = identify

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or say when to come again.

        Probes pass always: behind a proxy all that have no key share one address, and any of them could have the
        service taken for dead.
        """
        if (
            scope["type"] == "http"
            and scope["path"] not in PROBES
            and (wait := self._buckets.take(self._identify(scope)))
        ):
            error = TooManyRequests(self._buckets.rate, math.ceil(wait))
            await problems.response(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)
