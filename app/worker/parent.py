"""The parent of a worker, its supervisor: what a worker tells it by how it ends, and how it sees that it is gone."""

import os
from collections.abc import Callable

GAVE_UP = 75
"""The exit status of a worker that left a job it could not stop, or lost its GPU; it is replaced without delay."""


def is_orphan_of(supervisor: int) -> Callable[[], bool]:
    """Whether the supervisor that forked this process is gone."""
    return lambda: os.getppid() != supervisor
