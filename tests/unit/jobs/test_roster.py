"""The roster: who is alive, and where to wake them."""

import os
import subprocess
import sys

import pytest
from sqlalchemy import select, update

from app.database import Database, DatabaseTime
from app.jobs.roster import Roster, _birth
from app.tables import ProcessRow
from tests.unit.jobs.conftest import LEASE_SECONDS


def change(database: Database, process_id: str, **columns: object) -> None:
    with database.write() as session:
        session.execute(update(ProcessRow).where(ProcessRow.id == process_id).values(**columns))


def ports(database: Database, roster: Roster, role: str) -> set[int]:
    with database.read() as session:
        return set(roster.ports(session, role))  # type: ignore[arg-type]


def signed_in(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(ProcessRow.id)))


def test_living_processes_are_found_by_their_role(database: Database, roster: Roster):
    roster.sign_in("api", 4000)
    roster.sign_in("worker", 4001, ["cpu"])
    roster.sign_in("worker", 4002, ["cpu", "cuda"])

    assert ports(database, roster, "api") == {4000}
    assert ports(database, roster, "worker") == {4001, 4002}
    assert roster.devices() == {"cpu", "cuda"}
    assert roster.has_worker()


def test_who_signed_out_is_gone(database: Database, roster: Roster):
    process_id = roster.sign_in("worker", 4001, ["cpu"])

    roster.sign_out(process_id)
    roster.sign_out(process_id)

    assert ports(database, roster, "worker") == set()
    assert roster.devices() == set()
    assert not roster.has_worker()


def test_an_api_process_is_no_worker(roster: Roster):
    roster.sign_in("api", 4000, ["cpu"])

    assert not roster.has_worker()
    assert roster.devices() == set()


@pytest.mark.parametrize(("silent_seconds", "alive"), [(LEASE_SECONDS - 1, True), (LEASE_SECONDS + 0.1, False)])
def test_who_is_silent_for_longer_than_a_lease_is_taken_for_dead(
    database: Database, roster: Roster, silent_seconds: float, alive: bool
):
    process_id = roster.sign_in("worker", 4001, ["cpu"])
    change(database, process_id, seen_at=DatabaseTime(-silent_seconds))

    assert roster.has_worker() == alive
    assert ports(database, roster, "worker") == ({4001} if alive else set())
    assert roster.devices() == ({"cpu"} if alive else set())


def test_who_stays_is_alive_again(database: Database, roster: Roster):
    process_id = roster.sign_in("worker", 4001)
    change(database, process_id, seen_at=DatabaseTime(-LEASE_SECONDS - 1))

    with database.write() as session:
        roster.stay(session, process_id)

    assert roster.has_worker()


def test_a_process_on_another_machine_is_alive_but_cannot_be_woken_from_here(database: Database, roster: Roster):
    process_id = roster.sign_in("worker", 4001, ["cuda"])
    change(database, process_id, host="elsewhere", pid=2**30)

    assert roster.has_worker()
    assert roster.devices() == {"cuda"}
    assert ports(database, roster, "worker") == set()
    assert roster.dead() == []


def test_a_process_that_died_is_found_before_its_lease_runs_out(database: Database, roster: Roster):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        dead = roster.sign_in("worker", 4001)
        change(database, dead, pid=process.pid, birth=_birth(process.pid))
        roster.sign_in("worker", 4002)
        assert roster.dead() == []
        process.kill()
        process.wait()

    assert roster.dead() == [dead]


def test_a_living_process_with_the_number_of_a_dead_one_is_not_taken_for_it(database: Database, roster: Roster):
    reborn, living, of_before = (roster.sign_in("worker", port) for port in (4001, 4002, 4003))
    change(database, reborn, birth=f"{_birth(os.getpid())}0")
    change(database, of_before, birth=None)  # signed in with a version that did not tell

    assert roster.dead() == [reborn]
    with database.read() as session:
        assert not roster.is_alive(session, reborn)
        assert roster.is_alive(session, living)


def test_what_tells_processes_apart_stays_the_same_while_they_live():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert _birth(os.getpid()) == _birth(os.getpid()) != _birth(other.pid)
        other.kill()
        other.wait()
        assert _birth(other.pid) is None


def test_who_was_seen_in_time_to_come_is_not_alive_until_he_is_seen_again(database: Database, roster: Roster):
    process_id, day = roster.sign_in("worker", 4001, ["cpu"]), 86_400.0
    change(database, process_id, seen_at=DatabaseTime(day))
    assert not roster.has_worker()

    with database.write() as session:
        roster.stay(session, process_id)
    assert roster.has_worker()

    change(database, process_id, seen_at=DatabaseTime(day))
    newcomer = roster.sign_in("api", 4003)
    assert signed_in(database) == {newcomer}


def test_a_process_of_another_user_is_not_taken_for_dead(roster: Roster, monkeypatch: pytest.MonkeyPatch):
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    roster.sign_in("worker", 4001)
    monkeypatch.setattr(os, "kill", refuse)

    assert roster.dead() == []


def test_what_has_been_silent_for_ten_leases_is_struck_off_when_someone_signs_in(database: Database, roster: Roster):
    silent, long_silent = roster.sign_in("worker", 4001), roster.sign_in("worker", 4002)
    change(database, silent, seen_at=DatabaseTime(-9 * LEASE_SECONDS))
    change(database, long_silent, seen_at=DatabaseTime(-11 * LEASE_SECONDS))

    newcomer = roster.sign_in("api", 4003)

    assert signed_in(database) == {silent, newcomer}


def test_a_process_that_was_struck_off_while_its_machine_slept_comes_back(database: Database, roster: Roster):
    process_id = roster.sign_in("worker", 4001, ["cpu"])
    change(database, process_id, seen_at=DatabaseTime(-11 * LEASE_SECONDS))
    Roster(database, LEASE_SECONDS).sign_in("api", 4000)
    assert process_id not in signed_in(database)

    with database.write() as session:
        roster.stay(session, process_id)

    assert process_id in signed_in(database)
    assert ports(database, roster, "worker") == {4001}
    assert roster.devices() == {"cpu"}


def test_who_signed_out_does_not_come_back(database: Database, roster: Roster):
    process_id = roster.sign_in("worker", 4001, ["cpu"])
    roster.sign_out(process_id)

    with database.write() as session:
        roster.stay(session, process_id)

    assert signed_in(database) == set()
