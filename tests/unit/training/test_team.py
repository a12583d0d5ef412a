"""Threads that meet within compiled loops."""

import threading

import numpy as np
import pytest

from app.training.compilation import aligned, compiled
from app.training.team import SLEEPING, UNIT, Team, meet, publish, span_of

ROUNDS = 2_000


@compiled
def pass_notes(meetings, member, notes, rounds):
    """Each round everybody writes the round's number down and, once all have met, counts whom he finds behind."""
    behind = 0
    for number in range(1, rounds + 1):
        notes[member, 0] = number
        meet(meetings, member)
        for other in range(notes.shape[0]):
            behind += notes[other, 0] != number
        meet(meetings, member)
    return behind


@compiled
def stroll(meetings, member, notes, rounds):
    """The same without meeting."""
    behind = 0
    for number in range(1, rounds + 1):
        notes[member, 0] = number
        for other in range(notes.shape[0]):
            behind += notes[other, 0] != number
    return behind


@compiled
def pass_pages(meetings, member, own, shared, rounds):
    """Each round everybody publishes a page and, once all have met, counts the numbers of others that are old."""
    old = 0
    for number in range(1, rounds + 1):
        for i in range(own.size):
            own[i] = number
        publish(own, shared[member], 0, own.size)
        meet(meetings, member)
        for other in range(shared.shape[0]):
            for i in range(own.size):
                old += shared[other, i] != number
        meet(meetings, member)
    return old


def found_behind(size: int, loop: object, sleeping: int = 0) -> int:
    team, notes, found = Team(size), np.zeros((size, 8), np.int64), [0] * size
    team.meetings[:, SLEEPING] = sleeping

    def work(member: int) -> None:
        found[member] = loop(team.meetings, member, notes, ROUNDS)

    for _ in range(3):
        notes[:] = 0
        team.run(work)
    return sum(found)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_nobody_goes_on_before_all_have_come(size: int) -> None:
    assert found_behind(size, pass_notes) == 0


@pytest.mark.parametrize("size", [2, 5])
def test_those_who_sleep_meanwhile_meet_too(size: int) -> None:
    assert found_behind(size, pass_notes, sleeping=100) == 0


@pytest.mark.parametrize("size", [1, 2, 3])
def test_what_was_published_before_a_meeting_is_read_after_it(size: int) -> None:
    team, shared, found = Team(size), aligned(size, 8 * UNIT), [-1] * size

    def work(member: int) -> None:
        found[member] = pass_pages(team.meetings, member, aligned(8 * UNIT), shared, ROUNDS)

    team.run(work)
    assert found == [0] * size


@pytest.mark.parametrize(("size", "units"), [(1, 3), (2, 3), (3, 2), (7, 100)])
def test_spans_are_whole_units_and_cover_everything(size: int, units: int) -> None:
    spans = [span_of.py_func(member, size, units * UNIT) for member in range(size)]
    assert [n for first, last in spans for n in range(first, last)] == list(range(units * UNIT))
    assert all(first % UNIT == 0 for first, _ in spans)


def test_without_meeting_they_would_not_find_each_other() -> None:
    assert found_behind(3, stroll) > 0


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 5, 100])
def test_everything_is_somebodys(size: int, count: int) -> None:
    team = Team(size)
    shares = [team.share(member, count) for member in range(size)]
    assert [n for first, last in shares for n in range(first, last)] == list(range(count))
    sizes = [last - first for first, last in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_nobody_waits_for_a_member_that_has_failed(failing: int) -> None:
    team, notes = Team(3), np.zeros((3, 8), np.int64)

    def work(member: int) -> None:
        if member == failing:
            raise MemoryError(f"of member {member}")
        pass_notes(team.meetings, member, notes, 10)

    with pytest.raises(MemoryError, match=f"of member {failing}"):
        team.run(work)


def test_a_team_whose_threads_cannot_be_started_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, list[threading.Thread]()

    def second_fails(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", second_fails)
    with pytest.raises(RuntimeError, match="can't start"):
        Team(4)
    started[0].join(timeout=10)
    assert not started[0].is_alive()


def test_what_a_member_raises_reaches_the_caller() -> None:
    def work(member: int) -> None:
        if member == 1:
            raise MemoryError("of member 1")

    with pytest.raises(MemoryError, match="of member 1"):
        Team(3).run(work)
