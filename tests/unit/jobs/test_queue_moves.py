"""Every move of a job, and no other; and the jobs that come back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.database import Database, DatabaseTime
from app.errors import JobOver
from app.job_status import MOVES, OVER, Status
from app.jobs import queue as module
from app.jobs.queue import Claim, LeaseLost, Queue
from app.tables import JobRow
from tests.unit.jobs.conftest import (
    ATTEMPTS,
    LEASE_SECONDS,
    Running,
    Submit,
    finish,
    lapse,
    measured,
    put,
    record,
)

Operation = Callable[[Database, Queue, Claim], object]

OPERATIONS: dict[str, Operation] = {
    "claim": lambda _, queue, claim: queue.claim("w", ["cpu"]),
    "cancel": lambda _, queue, claim: queue.cancel(claim.job_id),
    "hand back": lambda _, queue, claim: queue.hand_back(claim),
    "renew": lambda _, queue, claim: queue.renew("w", claim),
    "record": lambda database, queue, claim: record(database, queue, claim, [measured(1)]),
    "abandon a dead worker's": lambda _, queue, claim: queue.abandon("w"),
    "abandon another worker's": lambda _, queue, claim: queue.abandon("v"),
    "abandon a lapsed": lambda database, queue, claim: (lapse(database, claim.job_id), queue.abandon()),
    "abandon a held": lambda _, queue, claim: queue.abandon(),
    "abandon the last attempt": lambda database, queue, claim: (
        put(database, claim.job_id, attempt=ATTEMPTS),
        queue.abandon("w"),
    ),
    "abandon what is asked to stop": lambda database, queue, claim: (
        put(database, claim.job_id, cancel_requested=True),
        queue.abandon("w"),
    ),
    **{
        f"finish as {status}": lambda database, queue, claim, status=status: finish(database, queue, claim, status)
        for status in Status
    },
}

ARROWS = {
    ("queued", "claim"): "running",
    ("queued", "cancel"): "cancelled",
    ("running", "hand back"): "queued",
    ("running", "abandon a dead worker's"): "queued",
    ("running", "abandon a lapsed"): "queued",
    ("running", "abandon the last attempt"): "failed",
    ("running", "abandon what is asked to stop"): "cancelled",
    **{("running", f"finish as {status}"): status.value for status in OVER},
}


@pytest.mark.parametrize("source", Status)
def test_every_operation_moves_a_job_along_its_arrow_or_not_at_all(
    database: Database, queue: Queue, submit: Submit, source: Status
):
    for name, operation in OPERATIONS.items():
        job_id = submit().id
        held = {"lease_until": DatabaseTime(LEASE_SECONDS), "worker_id": "w"} if source is not Status.QUEUED else {}
        put(database, job_id, status=source, **held)

        try:
            operation(database, queue, Claim(job_id, "w", 1))
            refused = False
        except (JobOver, LeaseLost, ValueError):
            refused = True

        assert queue.get(job_id).status == ARROWS.get((source, name), source), name
        assert not (refused and (source, name) in ARROWS), name
        put(database, job_id, status=Status.FAILED)


def test_every_arrow_is_one_that_the_table_of_moves_allows():
    assert {(source, target) for (source, _), target in ARROWS.items()} <= {
        (source.value, target.value) for source, targets in MOVES.items() for target in targets
    }


# ── abandon and hand back ────────────────────────────────────────────────────────────────────────────────────────


def test_a_lease_that_ran_out_is_locked_before_its_job_is_given_back(
    database: Database, queue: Queue, running: Running, asked: list[str]
):
    lapse(database, running().job_id)
    asked.clear()

    assert queue.abandon() == 1

    moves = [statement for statement in asked if statement.startswith("UPDATE jobs")]
    locks = [statement for statement in asked if statement.endswith("FOR UPDATE SKIP LOCKED")]
    assert asked.index(locks[0]) < asked.index(moves[0])
    assert "jobs.lease_until" in locks[0]


def test_a_job_is_tried_three_times_and_then_fails_with_the_reason(queue: Queue, submit: Submit):
    job_id = submit().id
    attempts = []
    while job := queue.claim("w", ["cpu"]):
        attempts.append(job.attempt)
        assert queue.abandon("w") == 1

    assert attempts == [1, 2, 3]
    job = queue.get(job_id)
    assert (job.status, job.attempt) == ("failed", 3)
    assert job.error is not None
    assert job.error["code"] == "worker-lost"
    assert "3 attempts" in job.error["detail"]
    assert job.finished_at is not None


def test_only_leases_that_ran_out_are_taken_away(database: Database, queue: Queue, running: Running):
    held, lapsed = running("w")[0], running("v")[0]
    lapse(database, lapsed)

    assert queue.abandon() == 1

    assert queue.get(held).status == "running"
    assert (queue.get(lapsed).status, queue.get(lapsed).attempt) == ("queued", 2)


def test_a_lease_of_a_clock_that_was_wrong_is_taken_away(database: Database, queue: Queue, running: Running):
    held, beyond = running("w")[0], running("v")[0]
    put(database, beyond, lease_until=DatabaseTime(86_400))

    assert queue.abandon() == 1

    assert queue.get(held).status == "running"
    assert (queue.get(beyond).status, queue.get(beyond).attempt) == ("queued", 2)


def test_a_lease_that_runs_out_while_others_are_taken_away_wins_no_attempt(
    database: Database, queue: Queue, running: Running, monkeypatch: pytest.MonkeyPatch
):
    last, lapsed = running()[0], running("v")[0]
    put(database, last, attempt=ATTEMPTS)
    lapse(database, lapsed)
    change, failed = module._update, {"status": Status.FAILED}

    def change_and_lapse(session: Session, where: Any, **values: Any) -> int:
        changed = change(session, where, **values)
        if failed.items() <= values.items():
            session.get_one(JobRow, last).lease_until = datetime.now(UTC) - timedelta(seconds=1)
        return changed

    monkeypatch.setattr(module, "_update", change_and_lapse)
    queue.abandon()

    assert queue.get(lapsed).status == "queued"
    assert queue.get(last).attempt == ATTEMPTS
    assert queue.get(last).status in ("running", "failed")


def test_a_dead_workers_jobs_are_taken_away_before_their_leases_run_out(queue: Queue, running: Running):
    of_living, of_dead = running("living")[0], running("dead")[0]

    assert queue.abandon("dead") == 1

    assert queue.get(of_living).status == "running"
    assert queue.get(of_dead).status == "queued"


def test_a_job_whose_client_gave_up_is_not_tried_again(queue: Queue, running: Running):
    job_id = running()[0]
    queue.cancel(job_id)

    queue.abandon("w")

    assert queue.get(job_id).status == "cancelled"
    assert queue.claim("v", ["cpu"]) is None


def test_a_job_that_is_handed_back_has_lost_no_attempt(queue: Queue, running: Running):
    claim = running()

    queue.hand_back(claim)

    job = queue.claim("v", ["cpu"])
    assert job is not None
    assert (job.id, job.attempt, job.worker_id) == (claim.job_id, 1, "v")


def test_a_job_that_is_asked_to_stop_is_not_handed_back_to_wait_again(queue: Queue, running: Running):
    claim = running()
    queue.cancel(claim.job_id)

    queue.hand_back(claim)

    assert queue.get(claim.job_id).status == "cancelled"
