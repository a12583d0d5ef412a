"""Whose job it is: a worker that lost its lease changes nothing any more."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from app.database import Database
from app.job_status import LIVING, Status
from app.jobs import history
from app.jobs.queue import Claim, LeaseLost, Queue
from app.jobs.roster import Roster
from app.tables import ProcessRow
from tests.unit.jobs.conftest import Running, columns, finish, lapse, measured, record

Operation = Callable[[Database, Queue, Claim], object]

WRITES: dict[str, Operation] = {
    "renew": lambda _, queue, claim: queue.renew(claim.worker_id, claim),
    "record": lambda database, queue, claim: record(database, queue, claim, [measured(1)]),
    "finish": lambda database, queue, claim: finish(database, queue, claim, Status.SUCCEEDED, model_id="m"),
    "hand back": lambda _, queue, claim: queue.hand_back(claim),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(
    "stranger", [("w", 1), ("v", 2), ("w", 3)], ids=["a stale attempt", "another worker", "an attempt to come"]
)
def test_only_the_worker_and_attempt_that_hold_a_job_change_it(
    database: Database, queue: Queue, running: Running, write: str, stranger: tuple[str, int]
):
    job_id = running()[0]
    queue.abandon("w")
    assert queue.claim("w", ["cpu"]) is not None  # the same worker, the second attempt
    before = columns(queue.get(job_id))

    with pytest.raises(LeaseLost):
        WRITES[write](database, queue, Claim(job_id, *stranger))

    assert columns(queue.get(job_id)) == before
    assert history.read(database, job_id, 0, 10) == []
    WRITES[write](database, queue, Claim(job_id, "w", 2))
    assert columns(queue.get(job_id)) != before


@pytest.mark.parametrize("write", WRITES)
def test_a_job_that_was_deleted_is_lost_too(database: Database, queue: Queue, running: Running, write: str):
    claim = running()
    finish(database, queue, claim, Status.FAILED)
    queue.delete(claim.job_id)

    with pytest.raises(LeaseLost):
        WRITES[write](database, queue, claim)


# ── renew and finish ─────────────────────────────────────────────────────────────────────────────────────────────


def test_renewing_prolongs_the_lease_and_the_place_on_the_roster(database: Database, queue: Queue, roster: Roster):
    worker_id = roster.sign_in("worker", 4001)
    with database.write() as session:
        session.get_one(ProcessRow, worker_id).seen_at = datetime.now(UTC) - timedelta(hours=1)
    assert not roster.has_worker()

    assert queue.renew(worker_id, None) is False

    assert roster.has_worker()


def test_a_renewed_job_does_not_lapse(database: Database, queue: Queue, running: Running):
    claim = running()
    lapse(database, claim.job_id)

    queue.renew("w", claim)

    assert queue.abandon() == 0
    assert queue.get(claim.job_id).status == "running"


def test_who_renews_learns_that_the_job_is_to_stop(queue: Queue, running: Running):
    claim = running()
    assert queue.renew("w", claim) is False
    assert not queue.is_cancelled(claim.job_id)

    queue.cancel(claim.job_id)

    assert queue.renew("w", claim) is True
    assert queue.is_cancelled(claim.job_id)


def test_a_finished_job_says_when_and_holds_no_lease(database: Database, queue: Queue, running: Running):
    claim = running()

    finish(database, queue, claim, Status.DIVERGED, model_id="m", error={"code": "diverged"}, device="cpu")

    job = queue.get(claim.job_id)
    assert (job.status, job.model_id, job.error, job.device) == ("diverged", "m", {"code": "diverged"}, "cpu")
    assert job.lease_until is None
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.finished_at >= job.started_at


@pytest.mark.parametrize("status", sorted(LIVING))
def test_a_job_does_not_end_as_living(database: Database, queue: Queue, running: Running, status: Status):
    with pytest.raises(ValueError, match=status):
        finish(database, queue, running(), status)


def test_a_finish_that_fails_with_its_transaction_did_not_happen(database: Database, queue: Queue, running: Running):
    claim = running()

    def fail() -> None:
        with database.write() as session:
            queue.finish(session, claim, Status.SUCCEEDED)
            raise RuntimeError("the model could not be added")

    with pytest.raises(RuntimeError):
        fail()

    assert queue.get(claim.job_id).status == "running"
