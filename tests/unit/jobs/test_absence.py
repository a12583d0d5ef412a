"""Whoever was away judges nobody for a moment."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from app.database import Database, DatabaseTime
from app.jobs import absence as module
from app.jobs.absence import Absence
from app.jobs.queue import Queue
from app.jobs.roster import Roster
from tests.unit.jobs.conftest import LEASE_SECONDS, Running, lapse

Clock = Callable[[float], None]


def signs(absence: Absence, *gaps: float) -> list[bool]:
    found, now = [], 1_000_000.0
    for gap in gaps:
        now += gap
        found.append(absence.is_over(now))
    return found


@pytest.fixture
def passes(roster: Roster, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let so many seconds pass, by the clock that an absence is measured by."""
    is_over, passed = roster._absence.is_over, [0.0]

    def move(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(roster._absence, "is_over", lambda now: is_over(now + passed[0]))
    return move


def stay(database: Database, roster: Roster, process_id: str) -> None:
    with database.write() as session:
        roster.stay(session, process_id)


def settle(database: Database, roster: Roster, process_id: str, passes: Clock) -> None:
    """Let more than half of a lease pass in which the process is here."""
    for _ in range(2):
        passes(LEASE_SECONDS / 3)
        stay(database, roster, process_id)


def test_who_writes_often_may_judge():
    assert signs(Absence(10), 0, 4, 5, 5, 1) == [True] * 5


def test_who_was_away_waits_for_half_of_a_lease():
    assert signs(Absence(10), 0, 5, 3600, 1, 3.9, 0.1, 5) == [True, True, False, False, False, True, True]


def test_who_could_not_write_for_more_than_half_of_a_lease_was_away():
    assert signs(Absence(10), 0, 5.1, 4.9, 0.1) == [True, False, False, True]


def test_a_clock_that_is_moved_back_is_an_absence():
    assert signs(Absence(10), 0, 5, -3600, 4.9, 0.1) == [True, True, False, False, True]


def test_who_was_away_again_waits_again():
    assert signs(Absence(10), 0, 3600, 1, 3600, 4.9, 0.1) == [True, False, False, False, False, True]


def test_who_is_always_late_judges_now_and_then():
    late = [20.0] * (module.MOST_LATE_SIGNS + 1)

    assert signs(Absence(10), 0, *late) == [True, *[False] * module.MOST_LATE_SIGNS, True]


def test_a_clock_that_is_moved_ahead_and_back_is_trusted_soon():
    assert signs(Absence(10), 0, 3600, -3600, 4.9, 0.1) == [True, False, False, False, True]


def test_a_machine_that_slept_costs_no_job_its_attempt(
    database: Database, queue: Queue, roster: Roster, running: Running, passes: Clock
):
    own = roster.sign_in("api", 4000)
    claim = running("w")
    assert queue.abandon() == 0

    lapse(database, claim.job_id)
    passes(3600)
    assert queue.abandon() == 0
    assert not queue.renew("w", claim)

    settle(database, roster, own, passes)
    assert queue.abandon() == 0
    lapse(database, claim.job_id)
    assert queue.abandon() == 1


def test_a_database_that_nobody_could_write_to_costs_no_job_its_attempt_whoever_comes_first_after_that(
    database: Database, queue: Queue, roster: Roster, running: Running, passes: Clock, monkeypatch: pytest.MonkeyPatch
):
    own = roster.sign_in("api", 4000)
    claim = running("w")

    def down() -> None:
        raise OperationalError("", {}, Exception("the database is down"))

    for comes_first in (lambda: None, lambda: stay(database, roster, own)):
        lapse(database, claim.job_id)
        with monkeypatch.context() as outage:
            outage.setattr(database, "write", down)
            for _ in range(4):  # looks that come often enough, but to nothing
                passes(LEASE_SECONDS / 3)
                with suppress(OperationalError):
                    queue.abandon()
                with suppress(OperationalError):
                    stay(database, roster, own)
        comes_first()
        assert queue.abandon() == 0
        queue.renew("w", claim)
        settle(database, roster, own, passes)

    lapse(database, claim.job_id)
    assert queue.abandon() == 1


def test_signs_of_life_are_at_the_databases_time(database: Database, roster: Roster, monkeypatch: pytest.MonkeyPatch):
    seen: list[float] = []
    monkeypatch.setattr(roster._absence, "is_over", lambda now: bool(seen.append(now)))
    with database.write() as session:
        now: datetime = session.scalars(select(DatabaseTime())).one()
        roster.may_judge(session)

    assert timedelta() <= timedelta(seconds=seen[0] - now.timestamp()) < timedelta(seconds=10)


def test_a_worker_that_is_dead_is_buried_however_late(queue: Queue, running: Running, passes: Clock):
    running("w")
    passes(3600)

    assert queue.abandon("w") == 1
