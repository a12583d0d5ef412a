"""The attendant: lease, history and cancel, beside a training that never waits."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from app.database import Database
from app.errors import StorageFull
from app.job_status import Status
from app.jobs import history
from app.jobs.bell import Bell
from app.jobs.history import Measurement
from app.jobs.queue import LeaseLost, Queue
from app.jobs.roster import Roster
from app.tables import JobRow
from app.worker import attendant as module
from app.worker.attendant import Attendant
from tests.patience import until
from tests.unit.worker.conftest import Claimed, epochs, is_held, keep, lapse, measured, silence

LOCKED = OperationalError("", {}, Exception("database is locked"))


def test_an_epoch_is_in_the_history_a_moment_later(
    database: Database, queue: Queue, attending: Attendant, worker_id: str, claimed: Claimed
):
    job, claim = claimed(worker_id)
    attending.take(claim)
    attending.listen()

    attending.record([measured(1)], 123.0, 10)

    until(lambda: epochs(database, job.id) == [1])
    found = queue.get(job.id)
    assert (found.epoch, found.metrics, found.samples_per_second) == (1, {"train_loss": 1.0}, 123.0)


def test_writing_the_history_prolongs_the_lease_and_the_place_on_the_roster(
    database: Database, roster: Roster, attending: Attendant, worker_id: str, claimed: Claimed
):
    job, claim = claimed(worker_id)
    attending.take(claim)
    attending.listen()
    lapse(database, job.id)
    silence(database, worker_id)

    attending.record([measured(1)], 1.0, 10)

    until(lambda: is_held(database, job.id))
    assert roster.has_worker()


def test_a_job_in_a_long_epoch_keeps_its_lease(database: Database, hasty: Attendant, worker_id: str, claimed: Claimed):
    job, claim = claimed(worker_id)
    hasty.take(claim)
    hasty.listen()
    lapse(database, job.id)

    until(lambda: is_held(database, job.id))
    assert not hasty.should_stop()


def test_a_worker_without_a_job_stays_on_the_roster(
    database: Database, roster: Roster, hasty: Attendant, worker_id: str
):
    silence(database, worker_id)

    until(roster.has_worker)


def test_of_many_epochs_none_is_lost_or_written_twice(
    database: Database, queue: Queue, attending: Attendant, worker_id: str, claimed: Claimed
):
    job, claim = claimed(worker_id)
    attending.take(claim)
    attending.listen()

    for number in range(1, 5001):
        attending.record([measured(number)], float(number), 10)
    attending.conclude(Status.SUCCEEDED, keep(queue, claim))

    assert epochs(database, job.id) == list(range(1, 5001))
    found = queue.get(job.id)
    assert (found.status, found.epoch, found.samples_per_second) == ("succeeded", 5000, 5000.0)


def test_an_epoch_that_ends_while_others_are_written_is_written_next(
    database: Database, attending: Attendant, worker_id: str, claimed: Claimed, monkeypatch: pytest.MonkeyPatch
):
    job, claim = claimed(worker_id)
    write, late = history.record, iter([measured(2), measured(3)])

    def write_slowly(*arguments: Any, **progress: Any) -> JobRow:
        for epoch in late:
            attending.record([epoch], 1.0, 10)
        return write(*arguments, **progress)

    monkeypatch.setattr(history, "record", write_slowly)
    attending.take(claim)
    attending.listen()
    attending.record([measured(1)], 1.0, 10)

    until(lambda: epochs(database, job.id) == [1, 2, 3])


@pytest.mark.parametrize("fault", [LOCKED, StorageFull("no space")], ids=["locked", "full"])
def test_a_database_that_fails_for_a_while_costs_no_epoch(
    database: Database, attending: Attendant, worker_id: str, claimed: Claimed, fault: Exception,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    job, claim = claimed(worker_id)
    write: Callable[[], AbstractContextManager[Session]] = database.write
    faults = [fault] * 3

    def fail_at_first() -> AbstractContextManager[Session]:
        if faults:
            raise faults.pop()
        return write()

    with capture_logs():
        monkeypatch.setattr(database, "write", fail_at_first)
        attending.take(claim)
        attending.listen()
        for number in (1, 2, 3):
            attending.record([measured(number)], 1.0, 10)

        until(lambda: epochs(database, job.id) == [1, 2, 3])
    assert not attending.should_stop()


@pytest.fixture
def crowded(database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with room for small writes alone."""

    def refuse(*_: object, **__: object) -> JobRow:
        raise StorageFull("no space")

    monkeypatch.setattr(history, "record", refuse)


@pytest.mark.usefixtures("crowded")
def test_a_disk_that_has_no_room_for_the_history_costs_no_lease_and_a_cancel_is_heard(
    database: Database, queue: Queue, hasty: Attendant, worker_id: str, claimed: Claimed
):
    job, claim = claimed(worker_id)
    with capture_logs():
        hasty.take(claim)
        hasty.listen()
        hasty.record([measured(1)], 1.0, 10)
        lapse(database, job.id)

        until(lambda: is_held(database, job.id))
        queue.cancel(job.id)
        until(hasty.cancel_requested.is_set)


@pytest.mark.usefixtures("crowded")
def test_a_job_whose_last_epochs_have_no_room_is_handed_back_without_them(
    queue: Queue, attendant: Attendant, claimed: Claimed
):
    job, claim = claimed()
    attendant.take(claim)
    attendant.record([measured(1)], 1.0, 10)
    attendant.stop_requested.set()

    with pytest.raises(LeaseLost):
        attendant.leave()

    assert (queue.get(job.id).status, queue.get(job.id).attempt) == ("queued", 1)


# ── the end of a job ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_end_of_a_job_holds_its_last_epochs(
    database: Database, queue: Queue, attendant: Attendant, claimed: Claimed
):
    job, claim = claimed()
    attendant.take(claim)
    attendant.listen()
    attendant.record([measured(1)], 10.0, 10)
    attendant.record([measured(2)], 20.0, 10)

    attendant.conclude(Status.SUCCEEDED, keep(queue, claim))

    assert epochs(database, job.id) == [1, 2]
    assert (queue.get(job.id).status, queue.get(job.id).samples_per_second) == ("succeeded", 20.0)


def test_after_the_end_nothing_is_attended_to(queue: Queue, attendant: Attendant, claimed: Claimed):
    _, claim = claimed()
    attendant.take(claim)
    attendant.listen()
    attendant.conclude(Status.SUCCEEDED, keep(queue, claim))

    with pytest.raises(LeaseLost):
        attendant.conclude(Status.SUCCEEDED, keep(queue, claim))


def test_an_end_that_could_not_be_written_may_be_tried_again_otherwise(
    database: Database, queue: Queue, attendant: Attendant, claimed: Claimed
):
    job, claim = claimed()
    attendant.take(claim)
    attendant.listen()
    attendant.record([measured(1)], 10.0, 10)

    def fail(session: Session, rest: list[Measurement], samples_per_second: float) -> None:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError):
        attendant.conclude(Status.SUCCEEDED, fail)
    attendant.conclude(Status.SUCCEEDED, keep(queue, claim))

    assert queue.get(job.id).status == "succeeded"
    assert epochs(database, job.id) == [1]


def test_an_end_that_meets_a_database_held_by_others_waits_for_it(
    database: Database, queue: Queue, attending: Attendant, worker_id: str, claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    job, claim = claimed(worker_id)
    attending.take(claim)
    attending.listen()
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(attending, "_tick", lambda: None)
    write: Callable[[], AbstractContextManager[Session]] = database.write
    faults = [LOCKED] * 3

    def fail_at_first() -> AbstractContextManager[Session]:
        if faults:
            raise faults.pop()
        return write()

    monkeypatch.setattr(database, "write", fail_at_first)
    attending.record([measured(1)], 10.0, 10)

    with capture_logs():
        attending.conclude(Status.SUCCEEDED, keep(queue, claim))

    assert (queue.get(job.id).status, epochs(database, job.id)) == ("succeeded", [1])


@pytest.mark.parametrize("why", ["stop_requested", "lease_lost"])
def test_an_end_that_cannot_be_written_is_given_up_when_the_job_is_anothers_or_the_worker_stops(
    database: Database, queue: Queue, attendant: Attendant, claimed: Claimed, why: str, monkeypatch: pytest.MonkeyPatch
):
    job, claim = claimed()
    attendant.take(claim)

    def locked() -> AbstractContextManager[Session]:
        getattr(attendant, why).set()
        raise LOCKED

    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(database, "write", locked)

    with capture_logs(), pytest.raises(LeaseLost):
        attendant.conclude(Status.SUCCEEDED, keep(queue, claim))

    assert queue.get(job.id).status == "running"


def test_an_attendant_survives_whatever_it_meets(
    database: Database, attending: Attendant, worker_id: str, claimed: Claimed, monkeypatch: pytest.MonkeyPatch
):
    job, claim = claimed(worker_id)
    publish, faults = attending.checkpointer.publish, [RuntimeError("can't start new thread")]

    def fail_once(written_epoch: int, wait: bool = False) -> None:
        if faults:
            raise faults.pop()
        publish(written_epoch, wait)

    monkeypatch.setattr(attending.checkpointer, "publish", fail_once)
    with capture_logs() as logged:
        attending.take(claim)
        attending.listen()
        until(lambda: not faults)
        attending.record([measured(1)], 1.0, 10)

        until(lambda: epochs(database, job.id) == [1])
    assert len(logged) == 1


# ── the bell ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_api_processes_hear_which_job_moved(roster: Roster, attending: Attendant, worker_id: str, claimed: Claimed):
    job, claim = claimed(worker_id)
    api, heard = Bell(), set[str]()
    roster.sign_in("api", api.port)
    attending.take(claim)
    attending.listen()

    attending.record([measured(1)], 1.0, 10)

    until(lambda: heard.update(api.drain()) or heard)
    assert heard == {job.id}
    api.close()


def test_epochs_that_were_committed_though_the_answer_was_lost_are_not_written_again(
    database: Database, attending: Attendant, worker_id: str, claimed: Claimed, cut_off: Callable[[], None]
):
    job, claim = claimed(worker_id)
    attending.take(claim)
    attending.listen()
    cut_off()

    with capture_logs():
        attending.record([measured(1)], 1.0, 10)
        until(lambda: epochs(database, job.id) == [1])
        attending.record([measured(2)], 1.0, 10)
        until(lambda: epochs(database, job.id) == [1, 2])


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
def test_an_end_that_was_committed_though_its_answer_was_lost_is_not_written_again(
    database: Database, queue: Queue, attendant: Attendant, claimed: Claimed, status: Status,
    cut_off: Callable[[], None],
):  # fmt: skip
    job, claim = claimed()
    attendant.take(claim)
    attendant.record([measured(1)], 10.0, 10)
    written: list[Status] = []

    def end(session: Session, rest: list[Measurement], samples_per_second: float) -> None:
        history.record(session, queue, claim, rest, samples_per_second=samples_per_second)
        queue.finish(session, claim, status)
        written.append(status)

    cut_off()

    with capture_logs():
        attendant.conclude(status, end)

    assert written == [status]
    assert (queue.get(job.id).status, epochs(database, job.id)) == (status, [1])
