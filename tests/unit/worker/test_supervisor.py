"""The supervisor, with other programs in the place of its workers."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from app.database import Database
from app.jobs.queue import Queue
from app.jobs.roster import Roster
from app.settings import Settings
from app.tables import ProcessRow
from app.worker import supervisor as module
from app.worker.supervisor import Supervisor
from tests.unit.worker.conftest import Claimed, soon

Spawn = Callable[[str], int]


@pytest.fixture
def supervisor(database: Database, tmp_path: Path) -> Supervisor:
    """A supervisor that has not begun, on the database of the other fixtures."""
    return Supervisor(Settings(data_dir=tmp_path, database_url=str(database.engine.url), workers=2))


@pytest.fixture
def spawn(supervisor: Supervisor) -> Iterator[Spawn]:
    """Give the supervisor a child that runs a shell script."""
    spawned = []

    def make(script: str) -> int:
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ)
        spawned.append(pid)
        supervisor._children[pid] = time.monotonic()
        return pid

    yield make
    for pid in set(spawned) & set(supervisor._children):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def reaped(supervisor: Supervisor, pid: int) -> bool:
    supervisor._reap()
    return pid not in supervisor._children


def backoff(supervisor: Supervisor) -> float:
    return supervisor._next_start - time.monotonic()


# ── children that end ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_child_that_ended_is_reaped_and_the_living_are_left_alone(supervisor: Supervisor, spawn: Spawn):
    ended, living = spawn("exit 3"), spawn("exec sleep 60")

    with capture_logs() as logged:
        assert soon(lambda: reaped(supervisor, ended))

    assert list(supervisor._children) == [living]
    assert [(line["pid"], line["status"]) for line in logged] == [(ended, 3)]


def test_a_child_killed_by_a_signal_is_reaped_too(supervisor: Supervisor, spawn: Spawn):
    child = spawn("kill -9 $$")

    with capture_logs() as logged:
        assert soon(lambda: reaped(supervisor, child))

    assert logged[0]["status"] == -9


def test_a_worker_that_died_once_is_replaced_at_once_and_one_that_keeps_dying_ever_later(
    supervisor: Supervisor, spawn: Spawn
):
    waits = []
    for _ in range(9):
        child = spawn("exit 1")
        with capture_logs():
            assert soon(lambda child=child: reaped(supervisor, child))  # type: ignore[misc]
        waits.append(max(0.0, backoff(supervisor)))

    assert waits == pytest.approx([0, 1, 2, 4, 8, 16, 30, 30, 30], abs=0.2)


def test_a_worker_that_lived_long_is_replaced_at_once(supervisor: Supervisor, spawn: Spawn):
    child = spawn("exit 1")
    supervisor._short_lives = 5
    supervisor._children[child] -= module.SHORT_LIFE_SECONDS

    with capture_logs():
        assert soon(lambda: reaped(supervisor, child))

    assert backoff(supervisor) <= 0


def test_workers_may_keep_dying_for_days(supervisor: Supervisor, spawn: Spawn):
    supervisor._short_lives = 5000
    child = spawn("exit 1")

    with capture_logs():
        assert soon(lambda: reaped(supervisor, child))

    assert backoff(supervisor) == pytest.approx(module.LONGEST_BACKOFF_SECONDS, abs=0.2)


def test_nobody_is_started_before_the_time(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch):
    forked = iter(range(100, 200))
    monkeypatch.setattr(os, "fork", lambda: next(forked))
    supervisor._next_start = time.monotonic() + 60

    supervisor._start_missing()
    assert not supervisor._children

    supervisor._next_start = 0.0
    supervisor._start_missing()
    supervisor._start_missing()
    assert list(supervisor._children) == [100, 101]
    supervisor._children.clear()


def test_a_system_without_room_for_a_worker_is_asked_again(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch):
    def fork() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)

    with capture_logs() as logged:
        supervisor._start_missing()

    assert not supervisor._children
    assert len(logged) == 1
    assert backoff(supervisor) == pytest.approx(module.RETRY_SECONDS, abs=0.2)


# ── the jobs of the dead ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_job_of_a_dead_worker_is_back_in_the_queue_at_once(
    database: Database, roster: Roster, queue: Queue, claimed: Claimed, supervisor: Supervisor, spawn: Spawn
):
    dead_id, living_id = roster.sign_in("worker", 4001), roster.sign_in("worker", 4002)
    child = spawn("exec sleep 60")
    with database.write() as session:
        session.execute(update(ProcessRow).where(ProcessRow.id == dead_id).values(pid=child))
    of_dead, of_living = claimed(dead_id)[0], claimed(living_id)[0]

    os.kill(child, signal.SIGKILL)
    with capture_logs():
        assert soon(lambda: reaped(supervisor, child))

    assert (queue.get(of_dead.id).status, queue.get(of_dead.id).attempt) == ("queued", 2)
    assert queue.get(of_living.id).status == "running"
    with database.read() as session:
        assert session.get(ProcessRow, dead_id) is None
        assert roster.ports(session, "worker") == [4002]


def test_a_database_that_cannot_be_read_does_not_end_the_supervisor(tmp_path: Path):
    supervisor = Supervisor(Settings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}"))

    with capture_logs() as logged:
        supervisor._bury()

    assert "leases" in logged[0]["event"]


# ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_workers_are_asked_to_stop_and_waited_for(supervisor: Supervisor, spawn: Spawn, tmp_path: Path):
    script = "trap 'echo >> {0}/stopped; exit 0' TERM; echo >> {0}/ready; while :; do sleep 0.01; done"
    children = [spawn(script.format(tmp_path)) for _ in range(2)]
    assert soon(lambda: (tmp_path / "ready").exists() and len((tmp_path / "ready").read_text()) == 2)

    supervisor._stop_children()

    assert len((tmp_path / "stopped").read_text()) == 2
    assert not supervisor._children
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def test_a_worker_that_does_not_listen_is_killed(
    supervisor: Supervisor, spawn: Spawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.1)
    child = spawn(f"trap '' TERM; echo > {tmp_path}/ready; while :; do sleep 0.01; done")
    assert soon((tmp_path / "ready").exists)

    supervisor._stop_children()

    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put back every signal handler that a supervisor replaces."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in numbers]
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def run(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, event: Callable[[], Any]) -> float:
    """Run a supervisor without workers until the event ends it; returns how long that took."""
    monkeypatch.setattr(module, "_load", lambda settings: None)
    monkeypatch.setattr(Supervisor, "_start_missing", lambda self: event())
    started = time.monotonic()
    assert supervisor.run() == 0
    supervisor._selector.close()
    return time.monotonic() - started


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_supervisor_at_once(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
):
    assert run(supervisor, monkeypatch, lambda: os.kill(os.getpid(), number)) < 0.9


@pytest.mark.usefixtures("handlers")
def test_the_end_of_its_lifeline_ends_the_supervisor_at_once(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch):
    reader, writer = os.pipe()
    ends = iter([writer])

    with os.fdopen(reader, "rb") as lifeline:
        supervisor._lifeline = lifeline
        assert run(supervisor, monkeypatch, lambda: [os.close(end) for end in ends]) < 0.9


@pytest.mark.usefixtures("handlers")
def test_the_death_of_a_child_wakes_the_supervisor(
    supervisor: Supervisor, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
):
    waits = []
    wait = Supervisor._await

    def measure(self: Supervisor, seconds: float) -> None:
        started = time.monotonic()
        wait(self, 30.0)
        waits.append(time.monotonic() - started)
        self._on_stop()

    monkeypatch.setattr(Supervisor, "_await", measure)
    with capture_logs():
        run(supervisor, monkeypatch, lambda: spawn("exit 0"))

    assert waits[0] < 10
    assert not supervisor._children
