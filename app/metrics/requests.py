"""Requests: how many, how they ended, how long they took. Counted on the way of every request, in about 2 µs."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
UNMATCHED = "none"
"""The route of a request that no route takes: a path that a client made up must not make up a time series."""

OTHER = "other"
"""The method of a request that no route has: clients may make up those too, or try all there are on every path."""

GONE = 499
"""The status, in metrics and log alone, of a request whose client left before there was a reply."""

REASONS = ("too many", "large head", "no HTTP", "slow head", "slow body", "long work", "unread reply")
"""Why connections are cut."""


class RequestMetrics:
    """The counters of one API process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ended = Counter(
            "onelayer_http_requests", "Requests that were answered.", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "onelayer_http_request_seconds", "From the head of a request until its reply begins.",
            ("method", "route"), registry=registry, buckets=SECONDS,
        )  # fmt: skip
        self._cut = Counter(
            "onelayer_http_connections_cut", "Connections that were ended because of their client.", ("reason",),
            registry=registry,
        )  # fmt: skip
        for reason in REASONS:
            self._cut.labels(reason)  # from the start, or a rate would miss the first of each
        self.in_progress = Gauge("onelayer_http_requests_in_progress", "Requests being answered.", registry=registry)
        self.connections = Gauge("onelayer_http_connections", "Open connections.", registry=registry)
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered, and note how long its reply took to begin."""
        key = method, route, status
        known = self._known.get(key)
        if known is None:
            # Looking up a series by its labels costs more than counting.
            known = self._known[key] = self._ended.labels(*map(str, key)), self._seconds.labels(method, route)
        known[0].inc()
        known[1].observe(seconds)

    def cut(self, reason: str) -> None:
        """Count a connection that was ended because of what its client did, or did not do."""
        self._cut.labels(reason).inc()
