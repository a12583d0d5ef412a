"""Random walks over the real queue: whatever clients and workers do, and whoever dies, the invariants hold."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from sqlalchemy import select

from app.database import Database, DatabaseTime
from app.errors import JobOver, JobStillRunning, QueueFull
from app.job_status import LIVING, MOVES, OVER, Status
from app.jobs import history
from app.jobs.order import Order
from app.jobs.queue import Claim, LeaseLost, Queue
from app.jobs.roster import Roster
from app.migrate import migrate
from app.tables import EpochRow, JobRow

ATTEMPTS = 3
LIMIT = 5

_template: list[Path] = []


def empty_database(folder: Path) -> Database:
    """A database with the newest schema, copied, since the migrations take longer than a walk."""
    if not _template:
        made = Path(tempfile.mkdtemp()) / "onelayer.db"
        database = Database(f"sqlite:///{made}")
        migrate(database)
        database.dispose()
        _template.append(made)
    shutil.copy(_template[0], folder / "onelayer.db")
    return Database(f"sqlite:///{folder / 'onelayer.db'}")


class Walk(RuleBasedStateMachine):
    """Clients submit, cancel and delete; workers claim, record, finish, stop and die."""

    jobs = Bundle("jobs")
    claims = Bundle("claims")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.database = empty_database(self.folder)
        self.queue = Queue(self.database, Roster(self.database, 60), 60, ATTEMPTS, LIMIT)
        self.workers = 0
        self.before: dict[str, JobRow] = {}

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.dispose()
            shutil.rmtree(self.folder)

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(target=jobs, rank=strategies.integers(-1, 1))
    def submit(self, rank: int) -> Any:
        queued = sum(job.status == Status.QUEUED for job in self.rows().values())
        order = Order({}, "linear", None, None, 10, "auto", rank)
        try:
            job, _ = self.queue.submit(order)
        except QueueFull:
            assert queued >= LIMIT
            return multiple()
        assert queued < LIMIT
        return job.id

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        before = self.rows().get(job_id)
        if before is None:
            return
        try:
            job, _ = self.queue.cancel(job_id)
        except JobOver:
            assert before.status in OVER
            return
        assert job.status == (Status.CANCELLED if before.status == Status.QUEUED else before.status)
        assert job.cancel_requested

    @rule(job_id=jobs)
    def delete(self, job_id: str) -> None:
        before = self.rows().get(job_id)
        if before is None:
            return
        try:
            self.queue.delete(job_id)
        except JobStillRunning:
            assert before.status == Status.RUNNING
            return
        assert before.status != Status.RUNNING
        self.before.pop(job_id, None)

    # ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(target=claims)
    def claim(self) -> Any:
        queued = [job for job in self.rows().values() if job.status == Status.QUEUED]
        self.workers += 1
        job = self.queue.claim(f"worker {self.workers}", ["cpu"])
        if job is None:
            assert not queued
            return multiple()
        assert job.id == min(queued, key=lambda row: (row.rank, row.id)).id
        assert job.status == Status.RUNNING
        return Claim(job.id, f"worker {self.workers}", job.attempt)

    @rule(claim=claims, count=strategies.integers(0, 3))
    def record(self, claim: Claim, count: int) -> None:
        """A heartbeat with some epochs."""
        row = self.rows().get(claim.job_id)
        first = row.epoch + 1 if row is not None else 1
        epochs = [measured(number) for number in range(first, first + count)]

        def write() -> None:
            with self.database.write() as session:
                history.record(session, self.queue, claim, epochs, lease_until=self.queue.lease_end())

        self.fenced(claim, write)

    @rule(claim=claims, kept=strategies.integers(0, 5))
    def go_on_from_a_checkpoint(self, claim: Claim, kept: int) -> None:
        def write() -> None:
            with self.database.write() as session:
                reached = history.rewind(session, self.queue, claim, kept)
            assert reached in (0, kept)
            assert self.rows()[claim.job_id].epoch == reached

        self.fenced(claim, write)

    @rule(claim=claims)
    def renew(self, claim: Claim) -> None:
        self.fenced(claim, lambda: self.queue.renew(claim.worker_id, claim))

    @rule(claim=claims, status=strategies.sampled_from(sorted(MOVES[Status.RUNNING] & OVER)))
    def finish(self, claim: Claim, status: Status) -> None:
        def write() -> None:
            with self.database.write() as session:
                self.queue.finish(session, claim, status)

        self.fenced(claim, write)

    @rule(claim=claims)
    def hand_back(self, claim: Claim) -> None:
        self.fenced(claim, lambda: self.queue.hand_back(claim))

    @rule(claim=consumes(claims))
    def crash(self, claim: Claim) -> None:
        """The worker's process is gone, and its supervisor says so."""
        held = self.holds(claim)
        before = self.rows().get(claim.job_id)
        assert self.queue.abandon(claim.worker_id) == held
        if held and before is not None:
            after = self.rows()[claim.job_id]
            expected = Status.QUEUED if before.attempt < ATTEMPTS else Status.FAILED
            assert after.status == (Status.CANCELLED if before.cancel_requested else expected)
            assert after.attempt == before.attempt + (after.status == Status.QUEUED)

    @rule(claim=claims)
    def lapse(self, claim: Claim) -> None:
        """The worker's machine is gone: its lease runs out, and whoever looks gives the job back."""
        if self.holds(claim):
            with self.database.write() as session:
                self.queue.guarded(session, claim, lease_until=DatabaseTime(-1))
            assert self.queue.abandon() == 1
        assert not self.holds(claim)

    # ── what always holds ────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def every_move_is_in_the_table(self) -> None:
        rows = self.rows()
        for job_id, was in self.before.items():
            now = rows[job_id]
            if now.status != was.status:
                reachable = MOVES[Status(was.status)]
                # A step may hold two moves: lapsed and given back, claimed and so on.
                assert now.status in reachable, (was.status, now.status)
            assert now.attempt >= was.attempt
        self.before = rows

    @invariant()
    def a_job_has_a_lease_while_it_runs_and_an_end_once_it_is_over(self) -> None:
        for job in self.rows().values():
            assert (job.lease_until is not None) == (job.status == Status.RUNNING)
            assert (job.finished_at is not None) == (job.status in OVER)
            assert job.attempt <= ATTEMPTS
            assert (job.error is not None) <= (job.status in OVER)
            assert job.status in LIVING | OVER

    @invariant()
    def every_history_is_gapless_and_ends_where_its_job_says(self) -> None:
        found: dict[str, list[int]] = {job_id: [] for job_id in self.rows()}
        if hasattr(self, "database"):
            with self.database.read() as session:
                for job_id, epoch in session.execute(select(EpochRow.job_id, EpochRow.epoch).order_by(EpochRow.epoch)):
                    found[job_id].append(epoch)
        for job_id, epochs in found.items():
            assert epochs == list(range(1, self.rows()[job_id].epoch + 1))

    # ── plumbing ─────────────────────────────────────────────────────────────────────────────────────────────────

    def rows(self) -> dict[str, JobRow]:
        if not hasattr(self, "database"):
            return {}
        with self.database.read() as session:
            return {job.id: job for job in session.scalars(select(JobRow))}

    def holds(self, claim: Claim) -> bool:
        job = self.rows().get(claim.job_id)
        return job is not None and job.status == Status.RUNNING and (job.id, job.worker_id, job.attempt) == claim

    def fenced(self, claim: Claim, write: Any) -> None:
        """A worker changes its own job, and nothing once it has lost it."""
        if self.holds(claim):
            write()
            return
        before = {job_id: vars_of(job) for job_id, job in self.rows().items()}
        try:
            write()
        except LeaseLost:
            assert {job_id: vars_of(job) for job_id, job in self.rows().items()} == before
        else:
            raise AssertionError("a worker wrote without a lease")


def vars_of(job: JobRow) -> dict[str, Any]:
    return {column.name: getattr(job, column.name) for column in JobRow.__table__.columns}


def measured(number: int) -> history.Measurement:
    return history.Measurement(number, 1 / number, None, None, None, 0.1, 0.1)


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
