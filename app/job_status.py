"""The states of a job, and every move between them.

queued ──claim──► running ──finish──► succeeded | failed | diverged | cancelled
   │  ▲               │
   │  └───abandon─────┘     its worker died or stopped: back to the queue, with attempt + 1 if it died
   └──cancel──► cancelled   nothing has begun, so nothing has to stop
"""

from enum import StrEnum


class Status(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker holds its lease
    SUCCEEDED = "succeeded"  # every epoch is done and the model is saved
    FAILED = "failed"  # it could not be trained; the error says why
    DIVERGED = "diverged"  # the loss or a weight became non-finite; the last finite weights are kept
    CANCELLED = "cancelled"  # a client stopped it; what was learned until then is a partial model


MOVES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.DIVERGED, Status.CANCELLED, Status.QUEUED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.DIVERGED: frozenset(),
    Status.CANCELLED: frozenset(),
}

OVER = frozenset(status for status, moves in MOVES.items() if not moves)
LIVING = frozenset(MOVES) - OVER


def sources(target: Status) -> list[Status]:
    """The states from which a job may move to `target`."""
    return [status for status, moves in MOVES.items() if target in moves]
