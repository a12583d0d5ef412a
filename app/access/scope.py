"""Scopes: what a key may do. Each contains those before it, so that a route declares the least that it needs."""

from enum import StrEnum


class Scope(StrEnum):
    """What a key may do."""

    PREDICT = "predict"  # ask models, and see which there are
    READ = "read"  # look at everything: data, jobs, histories, weights
    WRITE = "write"  # make, change and delete what is its own
    ADMIN = "admin"  # see and change everything, whoever owns it

    def contains(self, needed: "Scope") -> bool:
        """Whether a key of this scope may do what needs the other."""
        return _RANK[self] >= _RANK[needed]


_RANK = {scope: rank for rank, scope in enumerate(Scope)}
