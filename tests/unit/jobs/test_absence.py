"""Whoever was away judges nobody for a moment."""

from collections.abc import Callable

import pytest

from app.database import Database
from app.jobs import absence as module
from app.jobs.absence import Absence
from app.jobs.queue import Queue
from tests.unit.jobs.conftest import LEASE_SECONDS, Running, lapse

Clock = Callable[[float], None]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let so many seconds pass."""
    now = [1_000_000.0]
    monkeypatch.setattr(module.time, "time", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def looks(absence: Absence, passes: Clock, *gaps: float) -> list[bool]:
    found = []
    for gap in gaps:
        passes(gap)
        found.append(absence.is_over())
    return found


def test_who_looks_often_may_judge(passes: Clock):
    assert looks(Absence(10), passes, 0, 5, 5, 10, 1) == [True] * 5


def test_who_was_away_waits_for_half_of_the_time(passes: Clock):
    assert looks(Absence(10), passes, 5, 3600, 1, 3.9, 0.1, 5) == [True, False, False, False, True, True]


def test_a_clock_that_is_moved_back_is_no_absence(passes: Clock):
    assert looks(Absence(10), passes, 5, -3600, 5) == [True, True, True]


def test_who_was_away_again_waits_again(passes: Clock):
    assert looks(Absence(10), passes, 3600, 1, 3600, 4.9, 0.1) == [False, False, False, False, True]


def test_who_is_always_late_judges_now_and_then(passes: Clock):
    late = [20.0] * (module.MOST_LATE_LOOKS + 1)

    assert looks(Absence(10), passes, *late) == [False] * module.MOST_LATE_LOOKS + [True]


def test_a_clock_that_is_moved_ahead_and_back_is_trusted_soon(passes: Clock):
    assert looks(Absence(10), passes, 3600, -3600, 4.9, 0.1) == [False, False, False, True]


def test_a_machine_that_slept_costs_no_job_its_attempt(
    database: Database, queue: Queue, running: Running, passes: Clock
):
    claim = running("w")
    assert queue.abandon() == 0

    lapse(database, claim[0])
    passes(3600)
    assert queue.abandon() == 0
    assert not queue.renew("w", claim)

    passes(LEASE_SECONDS)
    assert queue.abandon() == 0
    lapse(database, claim[0])
    passes(1)
    assert queue.abandon() == 1


def test_a_worker_that_is_dead_is_buried_however_late(queue: Queue, running: Running, passes: Clock):
    running("w")
    passes(3600)

    assert queue.abandon("w") == 1
