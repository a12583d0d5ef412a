"""What the attendant hears: a cancel, a lost lease, the end of the supervisor."""

import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from app.database import Database
from app.job_status import Status
from app.jobs.queue import Claim, LeaseLost, Queue
from app.jobs.roster import Roster
from app.worker.attendant import Attendant
from app.worker.parent import GAVE_UP, is_orphan_of
from tests.patience import until
from tests.unit.worker.conftest import Claimed, epochs, keep, measured, silence


def test_a_cancel_is_heard_within_a_tick(queue: Queue, attending: Attendant, worker_id: str, claimed: Claimed):
    job, claim = claimed(worker_id)
    attending.take(claim)
    attending.listen()
    assert not attending.should_stop()

    queue.cancel(job.id)

    assert attending.cancel_requested.wait(60.0)
    assert attending.should_stop()


def test_a_cancel_is_heard_among_epochs_that_come_without_a_pause(
    queue: Queue, attending: Attendant, worker_id: str, claimed: Claimed
):
    job, claim = claimed(worker_id)
    attending.take(claim)
    attending.listen()
    queue.cancel(job.id)

    numbers = iter(range(1, 10_000_000))

    until(lambda: (attending.record([measured(next(numbers))], 1.0, 10), attending.should_stop())[1])


def test_a_lost_lease_is_heard_by_who_writes(
    database: Database, queue: Queue, attending: Attendant, worker_id: str, claimed: Claimed
):
    job, claim = claimed(worker_id)
    attending.take(claim)
    attending.listen()
    queue.abandon(worker_id)

    attending.record([measured(1)], 1.0, 10)

    assert attending.lease_lost.wait(60.0)
    assert attending.should_stop()
    assert epochs(database, job.id) == []


def test_a_lost_lease_is_heard_by_who_renews(queue: Queue, hasty: Attendant, worker_id: str, claimed: Claimed):
    _, claim = claimed(worker_id)
    hasty.take(claim)
    hasty.listen()

    queue.abandon(worker_id)

    assert hasty.lease_lost.wait(60.0)


def test_a_job_that_is_taken_while_the_loss_of_another_is_noticed_stays_the_workers_own(
    database: Database, queue: Queue, hasty: Attendant, worker_id: str, claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    _, lost = claimed(worker_id)
    let_go, noticed, taken = hasty._let_go, threading.Event(), threading.Event()

    def let_go_late() -> None:
        noticed.set()
        taken.wait(0.2)
        let_go()

    monkeypatch.setattr(hasty, "_let_go", let_go_late)
    hasty.take(lost)
    hasty.listen()
    queue.abandon(worker_id)
    assert noticed.wait(60.0)

    again = queue.claim(worker_id, ["cpu"])
    assert again is not None
    hasty.take(Claim(again.id, worker_id, again.attempt))
    taken.set()
    hasty.listen()
    hasty.record([measured(1)], 1.0, 10)

    until(lambda: epochs(database, again.id) == [1])
    assert not hasty.lease_lost.is_set()


def test_a_worker_that_lost_its_lease_stays_on_the_roster(
    database: Database, queue: Queue, roster: Roster, hasty: Attendant, worker_id: str, claimed: Claimed
):
    _, claim = claimed(worker_id)
    hasty.take(claim)
    hasty.listen()
    queue.abandon(worker_id)
    assert hasty.lease_lost.wait(60.0)

    silence(database, worker_id)

    until(roster.has_worker)


def test_a_worker_that_lost_its_lease_has_nothing_left_to_conclude(
    queue: Queue, attending: Attendant, worker_id: str, claimed: Claimed
):
    job, claim = claimed(worker_id)
    attending.take(claim)
    attending.listen()
    queue.abandon(worker_id)
    attending.record([measured(1)], 1.0, 10)
    assert attending.lease_lost.wait(60.0)

    with pytest.raises(LeaseLost):
        attending.conclude(Status.SUCCEEDED, keep(queue, claim))

    assert queue.get(job.id).status == "queued"


class Exited(BaseException):
    """The process is over."""


@pytest.fixture
def exiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attendant that ends the process raises instead."""

    def leave(status: int) -> None:
        raise Exited(status)

    monkeypatch.setattr(os, "_exit", leave)


@pytest.mark.usefixtures("exiting")
@pytest.mark.parametrize(("why", "exit_status", "status"), [("stop", 0, "queued"), ("cancel", GAVE_UP, "cancelled")])
def test_a_job_that_cannot_hear_is_ended_with_its_process_though_nobody_can_be_told(
    queue: Queue, attendant: Attendant, claimed: Claimed, why: str, exit_status: int, status: str,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    def fail(job_id: str) -> None:
        raise OperationalError("", {}, Exception("the server closed the connection"))

    job, claim = claimed()
    monkeypatch.setattr(attendant, "announce", fail)
    attendant.take(claim)
    getattr(attendant, f"{why}_requested").set()

    with pytest.raises(Exited, match=str(exit_status)):
        attendant._attend_once()

    assert queue.get(job.id).status == status


@pytest.mark.usefixtures("exiting")
def test_a_job_that_is_anothers_and_cannot_hear_it_is_ended_with_its_process(
    queue: Queue, attendant: Attendant, worker_id: str, claimed: Claimed
):
    _, claim = claimed(worker_id)
    attendant.take(claim)
    attendant._renew_seconds = 0.0
    queue.abandon(worker_id)
    attendant._attend_once()

    with pytest.raises(Exited, match=str(GAVE_UP)):
        attendant._attend_once()


@pytest.mark.usefixtures("exiting")
def test_a_job_that_is_anothers_and_hears_it_ends_by_itself(
    queue: Queue, attendant: Attendant, worker_id: str, claimed: Claimed
):
    _, claim = claimed(worker_id)
    attendant.take(claim)
    attendant.listen()
    attendant._renew_seconds = 0.0
    queue.abandon(worker_id)

    attendant._attend_once()
    attendant._attend_once()

    assert attendant.should_stop()


def test_what_was_said_of_one_job_is_not_said_of_the_next(
    queue: Queue, attendant: Attendant, worker_id: str, claimed: Claimed
):
    _, first = claimed(worker_id)
    attendant.take(first)
    attendant.listen()
    attendant.cancel_requested.set()
    attendant.lease_lost.set()
    attendant.record([measured(1)], 99.0, 10)

    _, second = claimed(worker_id)
    attendant.take(second)
    attendant.listen()
    given: list[Any] = []
    attendant.conclude(
        Status.SUCCEEDED, lambda session, rest, samples_per_second: given.extend([rest, samples_per_second])
    )

    assert not attendant.should_stop()
    assert given == [[], 0.0]


def test_a_worker_stops_when_its_supervisor_is_gone(attendant: Attendant, worker_id: str):
    attendant.start(worker_id, lambda: True)

    assert attendant.stop_requested.wait(60.0)
    assert attendant.should_stop()
    attendant.end()


def test_a_process_is_an_orphan_once_another_adopted_it():
    assert not is_orphan_of(os.getppid())()
    assert is_orphan_of(os.getpid())()


def test_a_forked_child_learns_that_its_parent_is_gone():
    code = (
        "import os, time\n"
        "from app.worker.parent import is_orphan_of\n"
        "parent, (reader, writer) = os.getpid(), os.pipe()\n"
        "if os.fork():\n"
        "    os.read(reader, 1)\n"
        "    os._exit(0)\n"
        "is_orphan = is_orphan_of(parent)\n"
        "before = is_orphan()\n"
        "os.write(writer, b'.')\n"
        "while not is_orphan(): time.sleep(0.001)\n"
        "print(before, flush=True)\n"
    )

    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)

    assert child.stdout.split() == ["False"]
