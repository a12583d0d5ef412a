"""Metrics: what the service shows to Prometheus. Requests are counted as they pass; all else is read when asked for."""
