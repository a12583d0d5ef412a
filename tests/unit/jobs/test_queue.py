"""The queue as clients and workers see it: submit, claim, cancel, delete, look."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import object_session

from app.access.scope import Scope
from app.access.viewer import Viewer, working_for
from app.database import Database
from app.errors import DatasetNotFound, JobNotFound, JobOver, JobStillRunning, QueueFull
from app.identifiers import new_id
from app.job_status import OVER, Status
from app.jobs import queue as module
from app.jobs.order import Order
from app.jobs.queue import Queue
from app.jobs.roster import Roster
from app.tables import EpochRow, JobRow, ModelNameRow
from tests.unit.jobs.conftest import LEASE_SECONDS, Running, Submit, columns, finish, measured, record

CLAIMER = """
import sys
from app.database import Database
from app.jobs.queue import Queue
from app.jobs.roster import Roster

database = Database(sys.argv[1])
queue = Queue(database, Roster(database, 15.0), 15.0, 3, 1000)
print("ready", flush=True)
sys.stdin.readline()
while (job := queue.claim(sys.argv[2], ["cpu"])) is not None:
    print(job.id, job.worker_id)
"""


# ── submit and claim ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_submitted_job_waits_with_everything_it_was_given(queue: Queue, dataset_id: str):
    spec = {"model": "softmax", "learning_rate": 0.1, "features": ["a", "b"]}
    order = Order(spec, "softmax", dataset_id, None, 7, "cuda")

    before = datetime.now(UTC)
    job, _ = queue.submit(order)
    after = datetime.now(UTC)

    assert (job.status, job.attempt, job.epoch, job.cancel_requested) == ("queued", 1, 0, False)
    assert (job.spec, job.model, job.dataset_id, job.epochs) == (spec, "softmax", dataset_id, 7)
    assert before - timedelta(milliseconds=1) <= job.created_at <= after
    assert columns(queue.get(job.id)) == columns(job)


@pytest.mark.parametrize("use", ["dataset_id", "validation_dataset_id"])
def test_a_job_on_a_dataset_that_was_deleted_meanwhile_is_refused(submit: Submit, use: str):
    with pytest.raises(DatasetNotFound):
        submit(**{use: new_id()})


def test_whoever_submits_or_cancels_learns_which_workers_to_wake(queue: Queue, roster: Roster, dataset_id: str):
    roster.sign_in("worker", 4001)
    roster.sign_in("api", 4002)

    job, ports = queue.submit(Order({}, "linear", dataset_id, None, 1, "auto"))

    assert ports == [4001]
    assert queue.cancel(job.id)[1] == [4001]


def test_the_oldest_job_is_claimed_first(queue: Queue, submit: Submit):
    submitted = [submit().id for _ in range(5)]

    claimed = [queue.claim("w", ["cpu"]) for _ in range(5)]

    assert [job.id for job in claimed if job] == submitted
    assert queue.claim("w", ["cpu"]) is None


def test_a_job_that_comes_back_is_again_the_oldest(queue: Queue, submit: Submit):
    first, _ = submit().id, submit().id
    queue.claim("w", ["cpu"])
    queue.abandon("w")

    claimed = queue.claim("v", ["cpu"])

    assert claimed is not None
    assert claimed.id == first


def test_a_claimed_job_is_the_workers_own_for_the_length_of_the_lease(queue: Queue, submit: Submit):
    submit()

    job = queue.claim("w", ["cpu"])

    assert job is not None
    assert (job.status, job.worker_id, job.attempt) == ("running", "w", 1)
    assert job.started_at is not None
    assert job.lease_until is not None
    assert job.lease_until - job.started_at == timedelta(seconds=LEASE_SECONDS)


@pytest.mark.parametrize(
    ("devices", "claimed"),
    [(["cpu"], ["auto", "cpu"]), (["cpu", "cuda"], ["cuda", "auto", "cpu"]), ([], ["auto"])],
)
def test_a_worker_claims_what_its_devices_can_train_and_passes_over_the_rest(
    queue: Queue, submit: Submit, devices: list[str], claimed: list[str]
):
    for device in ("cuda", "auto", "cpu"):
        submit(requested_device=device)

    taken = [job.requested_device for job in iter(lambda: queue.claim("w", devices), None)]

    assert taken == claimed


def test_of_processes_that_claim_at_once_no_two_get_the_same_job(submit: Submit, database: Database, tmp_path: Path):
    submitted = {submit().id for _ in range(60)}
    command = [sys.executable, "-c", CLAIMER, str(database.engine.url)]
    claimers = [
        subprocess.Popen([*command, f"w{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    for claimer in claimers:
        assert claimer.stdout is not None
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        assert claimer.stdin is not None
        claimer.stdin.write("go\n")
        claimer.stdin.flush()
    claimed = [dict(line.split() for line in claimer.communicate()[0].splitlines()) for claimer in claimers]

    assert sum(map(len, claimed)) == 60
    assert {job for found in claimed for job in found} == submitted
    assert all(set(found.values()) <= {f"w{number}"} for number, found in enumerate(claimed))


# ── cancel, delete, look ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_queued_job_is_cancelled_at_once(queue: Queue, submit: Submit):
    job, _ = queue.cancel(submit().id)

    assert job.status == "cancelled"
    assert job.finished_at is not None
    assert queue.claim("w", ["cpu"]) is None


def test_a_running_job_is_asked_to_stop_as_often_as_one_likes(queue: Queue, running: Running):
    job_id = running()[0]

    for _ in range(2):
        job, _ = queue.cancel(job_id)
        assert (job.status, job.cancel_requested, job.finished_at) == ("running", True, None)


@pytest.mark.parametrize("status", sorted(OVER))
def test_a_job_that_is_over_cannot_be_cancelled(database: Database, queue: Queue, running: Running, status: Status):
    claim = running()
    finish(database, queue, claim, status)

    with pytest.raises(JobOver, match=status):
        queue.cancel(claim.job_id)


def test_a_running_job_cannot_be_deleted(database: Database, queue: Queue, running: Running):
    claim = running()
    with pytest.raises(JobStillRunning):
        queue.delete(claim.job_id)

    finish(database, queue, claim, Status.SUCCEEDED)
    queue.delete(claim.job_id)

    with pytest.raises(JobNotFound):
        queue.get(claim.job_id)


def test_a_job_that_is_claimed_while_it_is_deleted_stays(
    database: Database, queue: Queue, submit: Submit, monkeypatch: pytest.MonkeyPatch
):
    job_id = submit().id

    def claim_meanwhile(job: JobRow, called: str) -> None:
        session = object_session(job)
        assert session is not None
        session.execute(update(JobRow).values(status="running"), execution_options={"synchronize_session": False})

    monkeypatch.setattr(module, "check_own", claim_meanwhile)
    with pytest.raises(JobStillRunning):
        queue.delete(job_id)


def test_a_deleted_jobs_history_goes_along(database: Database, queue: Queue, running: Running):
    claim = running()
    record(database, queue, claim, [measured(1)])
    finish(database, queue, claim, Status.SUCCEEDED)

    queue.delete(claim.job_id)

    with database.read() as session:
        assert session.query(EpochRow).count() == 0


@pytest.mark.parametrize("call", [Queue.get, Queue.cancel, Queue.delete])
@pytest.mark.parametrize("job_id", ["nobody", "", "0190a4e0-0000-7000-8000-000000000000"])
def test_what_is_not_there_is_not_found(queue: Queue, call: Callable[[Queue, str], object], job_id: str):
    with pytest.raises(JobNotFound):
        call(queue, job_id)


def test_pages_are_newest_first_and_complete(queue: Queue, submit: Submit):
    submitted = [submit().id for _ in range(5)]

    first = queue.page(2)
    second = queue.page(2, before=first[-1].id)
    third = queue.page(2, before=second[-1].id)

    assert [job.id for page in (first, second, third) for job in page] == submitted[::-1]


def test_a_list_is_narrowed_by_status_model_and_dataset(queue: Queue, submit: Submit, dataset_id: str):
    linear, softmax = submit(model="linear").id, submit(model="softmax").id
    queue.cancel(linear)

    assert [job.id for job in queue.page(9, status="queued")] == [softmax]
    assert [job.id for job in queue.page(9, model="linear")] == [linear]
    assert [job.id for job in queue.page(9, status="cancelled", model="softmax")] == []
    assert [job.id for job in queue.page(9, dataset_id=dataset_id, status=None)] == [softmax, linear]
    assert queue.page(9, dataset_id="other") == []


def test_one_owner_may_queue_so_many_jobs_and_others_still_theirs(database: Database):
    limited = Queue(database, Roster(database, 15.0), 15.0, 3, 1000, limit_per_key=2)
    order = Order({}, "linear", None, None, 3, "auto")
    ann, bob = Viewer(Scope.WRITE, "ann"), Viewer(Scope.WRITE, "bob")
    with working_for(ann):
        jobs = [limited.submit(order)[0].id for _ in range(2)]
        with pytest.raises(QueueFull, match="2 jobs of this key's owner"):
            limited.submit(order)
    with working_for(bob):
        limited.submit(order)
    limited.submit(order)

    with working_for(ann):
        limited.cancel(jobs[0])
        limited.submit(order)


def test_an_order_that_is_tried_out_leaves_no_job_and_takes_no_name(database: Database, queue: Queue, dataset_id: str):
    queue.try_out(Order({"model_name": "line"}, "linear", dataset_id, None, 3, "auto"))

    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(JobRow)) == 0
        assert session.get(ModelNameRow, "line") is None
    with pytest.raises(DatasetNotFound):
        queue.try_out(Order({}, "linear", new_id(), None, 3, "auto"))
