"""Probes: what machines ask every few seconds to learn whether the service lives."""

PROBES = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
