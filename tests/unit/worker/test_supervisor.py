"""The supervisor, with other programs in the place of its workers."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from app import grace
from app.database import Database
from app.jobs.queue import Queue
from app.jobs.roster import Roster, _birth
from app.settings import Settings
from app.tables import ProcessRow
from app.training import kernels
from app.worker import supervisor as module
from app.worker.supervisor import Supervisor
from tests.patience import until
from tests.unit.worker.conftest import Claimed

Spawn = Callable[[str], int]
NOW = 1000.0

STOPPED_AT_BIRTH = """
import os, signal
from app.settings import Settings
from app.worker.loop import Worker
from app.worker.supervisor import Supervisor

begin = Worker.__init__

def stopped(worker, *arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    begin(worker, *arguments)

Worker.__init__ = stopped
supervisor = Supervisor(Settings(workers=1))
supervisor._listen()
supervisor._start_missing()
_, status = os.waitpid(*supervisor._children, 0)
os.kill(os.getpid(), signal.SIGTERM)
print(os.waitstatus_to_exitcode(status), supervisor._stopping)
"""
ORPHANED_AT_BIRTH = """
import os, signal, time
from app.settings import Settings
from app.worker import loop
from app.worker.parent import is_orphan_of
from app.worker.supervisor import Supervisor

class Worker:
    def __init__(self, _, supervisor):
        self.is_orphan = is_orphan_of(supervisor)

    def run(self):
        print(self.is_orphan(), flush=True)
        return 0

def fork_and_die():
    parent, process = os.getpid(), fork()
    if process:
        os.kill(parent, signal.SIGKILL)
    while os.getppid() == parent:
        time.sleep(0.001)
    return process

loop.Worker, fork, os.fork = Worker, os.fork, fork_and_die
Supervisor(Settings(workers=1))._start_missing()
"""


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
        supervisor._children[pid] = module.time.monotonic()
        return pid

    yield make
    for pid in set(spawned) & set(supervisor._children):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def reaped(supervisor: Supervisor, pid: int) -> bool:
    supervisor._reap()
    return pid not in supervisor._children


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is `NOW`, however long anything takes."""
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: NOW))


def backoff(supervisor: Supervisor) -> float:
    return supervisor._next_start - NOW


# ── children that end ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_child_that_ended_is_reaped_and_the_living_are_left_alone(supervisor: Supervisor, spawn: Spawn):
    ended, living = spawn("exit 3"), spawn("exec sleep 60")

    with capture_logs() as logged:
        until(lambda: reaped(supervisor, ended))

    assert list(supervisor._children) == [living]
    assert [(line["pid"], line["status"]) for line in logged] == [(ended, 3)]


def test_a_child_killed_by_a_signal_is_reaped_too(supervisor: Supervisor, spawn: Spawn):
    child = spawn("kill -9 $$")

    with capture_logs() as logged:
        until(lambda: reaped(supervisor, child))

    assert logged[0]["status"] == -9


@pytest.mark.usefixtures("standing_clock")
def test_a_worker_that_died_once_is_replaced_at_once_and_one_that_keeps_dying_ever_later(
    supervisor: Supervisor, spawn: Spawn
):
    waits = []
    for _ in range(9):
        child = spawn("exit 1")
        with capture_logs():
            until(lambda child=child: reaped(supervisor, child))  # type: ignore[misc]
        waits.append(backoff(supervisor))

    assert waits == [0, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.usefixtures("standing_clock")
def test_a_worker_that_lived_long_is_replaced_at_once(supervisor: Supervisor, spawn: Spawn):
    child = spawn("exit 1")
    supervisor._short_lives = 5
    supervisor._children[child] -= module.SHORT_LIFE_SECONDS

    with capture_logs():
        until(lambda: reaped(supervisor, child))

    assert backoff(supervisor) == 0


@pytest.mark.usefixtures("standing_clock")
def test_workers_may_keep_dying_for_days(supervisor: Supervisor, spawn: Spawn):
    supervisor._short_lives = 5000
    child = spawn("exit 1")

    with capture_logs():
        until(lambda: reaped(supervisor, child))

    assert backoff(supervisor) == module.LONGEST_BACKOFF_SECONDS


@pytest.mark.usefixtures("standing_clock")
def test_nobody_is_started_before_the_time(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch):
    forked = iter(range(100, 200))
    monkeypatch.setattr(os, "fork", lambda: next(forked))
    supervisor._next_start = NOW + 0.1

    supervisor._start_missing()
    assert not supervisor._children

    supervisor._next_start = NOW
    supervisor._start_missing()
    supervisor._start_missing()
    assert list(supervisor._children) == [100, 101]
    supervisor._children.clear()


@pytest.mark.usefixtures("standing_clock")
def test_a_system_without_room_for_a_worker_is_asked_again(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch):
    def fork() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)

    with capture_logs() as logged:
        supervisor._start_missing()

    assert not supervisor._children
    assert len(logged) == 1
    assert backoff(supervisor) == module.RETRY_SECONDS


# ── children that have just been forked ──────────────────────────────────────────────────────────────────────────


def said(code: str, folder: Path) -> str:
    environment = {**os.environ, "ONELAYER_DATA_DIR": str(folder)}
    program = subprocess.run(
        [sys.executable, "-c", code], check=False, env=environment, stdout=subprocess.PIPE, text=True, timeout=60
    )
    return program.stdout.strip()


@pytest.mark.usefixtures("database")
def test_a_worker_that_is_told_to_stop_before_it_can_hear_it_stops_when_it_can(tmp_path: Path):
    assert said(STOPPED_AT_BIRTH, tmp_path) == "0 True"


def test_a_worker_whose_supervisor_dies_while_it_is_forked_knows_that_it_is_an_orphan(tmp_path: Path):
    assert said(ORPHANED_AT_BIRTH, tmp_path) == "True"


# ── the jobs of the dead ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_job_of_a_dead_worker_is_back_in_the_queue_at_once(
    database: Database, roster: Roster, queue: Queue, claimed: Claimed, supervisor: Supervisor, spawn: Spawn
):
    dead_id, living_id = roster.sign_in("worker", 4001), roster.sign_in("worker", 4002)
    child = spawn("exec sleep 60")
    with database.write() as session:
        dead = update(ProcessRow).where(ProcessRow.id == dead_id)
        session.execute(dead.values(pid=child, birth=_birth(child)))
    of_dead, of_living = claimed(dead_id)[0], claimed(living_id)[0]

    os.kill(child, signal.SIGKILL)
    with capture_logs():
        until(lambda: reaped(supervisor, child))

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


def test_workers_are_asked_to_stop_and_waited_for(
    supervisor: Supervisor, spawn: Spawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(grace, "WORKERS_SECONDS", 60.0)
    script = "trap 'echo >> {0}/stopped; exit 0' TERM; echo >> {0}/ready; while :; do sleep 0.01; done"
    children = [spawn(script.format(tmp_path)) for _ in range(2)]
    until(lambda: (tmp_path / "ready").exists() and len((tmp_path / "ready").read_text()) == 2)

    supervisor._stop_children()

    assert len((tmp_path / "stopped").read_text()) == 2
    assert not supervisor._children
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def test_a_worker_that_does_not_listen_is_killed(
    supervisor: Supervisor, spawn: Spawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(grace, "WORKERS_SECONDS", 0.1)
    child = spawn(f"trap '' TERM; echo > {tmp_path}/ready; while :; do sleep 0.01; done")
    until((tmp_path / "ready").exists)

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


def run(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, event: Callable[[], Any]) -> list[bool]:
    """Run a supervisor without workers until the event ends it; returns of each of its waits whether it was woken.

    It waits far longer than it does at work, so that what it does of its own accord is not taken for an answer.
    """
    woken, select = [], supervisor._selector.select

    def patient(seconds: float) -> list[Any]:
        found = select(60.0)
        woken.append(bool(found))
        return found

    monkeypatch.setattr(module, "_load", lambda settings: None)
    monkeypatch.setattr(Supervisor, "_start_missing", lambda self: event())
    monkeypatch.setattr(supervisor._selector, "select", patient)
    assert supervisor.run() == 0
    supervisor._selector.close()
    return woken


def test_where_nothing_can_be_kept_of_what_is_compiled_the_workers_start_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    warmed: list[bool] = []
    monkeypatch.setattr(kernels, "warm", lambda: warmed.append(True))
    (tmp_path / "file").touch()

    module._load(Settings(data_dir=tmp_path, cache_dir=tmp_path / "file" / "cache"))

    assert warmed


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_supervisor_at_once(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
):
    assert run(supervisor, monkeypatch, lambda: os.kill(os.getpid(), number)) == [True]


@pytest.mark.usefixtures("handlers")
def test_the_end_of_its_lifeline_ends_the_supervisor_at_once(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch):
    reader, writer = os.pipe()

    with os.fdopen(reader, "rb") as lifeline:
        supervisor._lifeline = lifeline
        assert run(supervisor, monkeypatch, lambda: os.close(writer)) == [True]


@pytest.mark.usefixtures("handlers")
def test_the_death_of_a_child_wakes_the_supervisor(
    supervisor: Supervisor, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
):
    wait = Supervisor._await

    def once(self: Supervisor, seconds: float) -> None:
        wait(self, seconds)
        self._on_stop()

    monkeypatch.setattr(Supervisor, "_await", once)
    with capture_logs():
        woken = run(supervisor, monkeypatch, lambda: spawn("exit 0"))

    assert woken == [True]
    assert not supervisor._children


def test_it_says_what_it_waits_for_and_asks_ever_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    supervisor, waits = Supervisor(Settings(data_dir=tmp_path / "new")), []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        supervisor._stopping = len(waits) == 8

    monkeypatch.setattr(supervisor, "_await", wait)
    with capture_logs() as logged:
        supervisor._await_schema()

    assert ["onelayer migrate" in line["event"] for line in logged] == [True]
    assert waits[0] < 0.1
    assert waits == sorted(waits)
    assert waits[-1] == module.LONGEST_SCHEMA_POLL_SECONDS
