"""The queue: the job's row is its entry. Every change of status is one guarded update.

A worker's writes carry its id and the attempt it claimed: a worker that lost its lease changes nothing any more.
"""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, delete, false, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import idempotency
from app.access.viewer import check_own, viewer, visible
from app.database import Database, DatabaseTime
from app.errors import DatasetNotFound, JobNotFound, JobOver, JobStillRunning
from app.identifiers import can_be_called, new_id
from app.job_status import LIVING, Status, sources
from app.jobs.admission import admit
from app.jobs.error_codes import ErrorCode
from app.jobs.order import Order
from app.jobs.room import Room
from app.jobs.roster import Roster
from app.tables import JobRow


class Claim(NamedTuple):
    """Which attempt of which worker at which job: what fences a worker's writes."""

    job_id: str
    worker_id: str
    attempt: int


class LeaseLost(Exception):
    """The job belongs to another attempt by now, or is gone."""


class Queue:
    """Submit, claim, renew, finish; cancel, abandon, delete; and look."""

    def __init__(
        self, database: Database, roster: Roster, lease_seconds: float, attempts: int, limit: int,
        limit_per_key: int | None = None,
    ) -> None:  # fmt: skip
        self._database = database
        self._room = Room(limit, limit_per_key)
        self._roster = roster
        self._lease_seconds = lease_seconds
        self._attempts = attempts

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, order: Order) -> tuple[JobRow, list[int]]:
        """Put a job into the queue, behind those of its priority. Returns it, with the ports of the workers to wake."""
        job_id = new_id()
        with self._database.write() as session:
            self._room.check(session)
            admit(session, order)
            about = {"id": job_id, "status": Status.QUEUED, "created_at": DatabaseTime(), "owner": viewer().owner}
            session.add(JobRow(**about, **vars(order)))
            try:
                session.flush()
            except IntegrityError as error:
                # It was there when the spec was checked.
                raise DatasetNotFound(order.dataset_id or "") from error
            idempotency.created(session, f"/jobs/{job_id}")
            return _find(session, job_id), self._roster.ports(session, "worker")

    def try_out(self, order: Order) -> None:
        """Refuse what `submit` would refuse, whether or not there is room, and change nothing."""
        with self._database.write() as session:
            tried = session.begin_nested()
            admit(session, order)
            tried.rollback()

    def get(self, job_id: str) -> JobRow:
        """One job."""
        with self._database.read() as session:
            return find(session, job_id)

    def newest(self) -> str:
        """The id of the newest job."""
        with self._database.read() as session:
            job_id = session.scalar(select(JobRow.id).where(visible(JobRow)).order_by(JobRow.id.desc()).limit(1))
        if job_id is None:
            raise JobNotFound("latest")
        return job_id

    def page(self, limit: int, before: str | None = None, **filters: str | None) -> list[JobRow]:
        """Jobs, newest first, older than the job `before`; filters by status, model and dataset_id."""
        query = select(JobRow).where(visible(JobRow)).order_by(JobRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(JobRow.id < before)
        for column, value in filters.items():
            if value is not None:
                query = query.where(getattr(JobRow, column) == value if can_be_called(value) else false())
        with self._database.read() as session:
            return list(session.scalars(query))

    def cancel(self, job_id: str) -> tuple[JobRow, list[int]]:
        """Cancel at once what is queued; ask the worker to stop what is running. Returns the ports to ring."""
        with self._database.write() as session:
            job = find(session, job_id)
            check_own(job, job_id)
            status = job.status
            if status not in LIVING:
                raise JobOver(job_id, status)
            waiting = and_(JobRow.id == job_id, JobRow.status == Status.QUEUED)
            _update(session, waiting, status=Status.CANCELLED, finished_at=DatabaseTime())
            _update(session, JobRow.id == job_id, cancel_requested=True)
            return _find(session, job_id), self._roster.ports(session, "worker")

    def delete(self, job_id: str) -> None:
        """Remove a job and its history; its model stays."""
        with self._database.patiently(), self._database.write() as session:
            check_own(find(session, job_id), job_id)
            # One statement, since a worker may claim the job at any moment.
            gone = delete(JobRow).where(JobRow.id == job_id, JobRow.status != Status.RUNNING).returning(JobRow.id)
            if session.scalar(gone) is None:
                _find(session, job_id)
                raise JobStillRunning(job_id)

    def keeps(self, job_id: str, attempt: int) -> bool:
        """Whether what this attempt at a job leaves is kept: it is the last, and has not come to nothing."""
        kept = JobRow.status.in_([*LIVING, Status.SUCCEEDED])
        with self._database.read() as session:
            return session.scalar(select(JobRow.attempt).where(JobRow.id == job_id, kept)) == attempt

    # ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def claim(self, worker_id: str, devices: list[str]) -> JobRow | None:
        """Take the first queued job that one of these devices can train, in one statement."""
        first = (
            select(JobRow.id)
            .where(JobRow.status == Status.QUEUED, JobRow.requested_device.in_(["auto", *devices]))
            .order_by(JobRow.rank, JobRow.id).limit(1).with_for_update(skip_locked=True).scalar_subquery()
        )  # fmt: skip
        taken = (
            update(JobRow).where(JobRow.id == first, JobRow.status == Status.QUEUED)
            .values(
                status=Status.RUNNING, worker_id=worker_id, lease_until=self.lease_end(),
                started_at=DatabaseTime(), resumed_epoch=None,
            )
            .returning(JobRow)
        )  # fmt: skip
        with self._database.write() as session:
            return session.scalar(taken, execution_options={"populate_existing": True})

    def held_by(self, worker_id: str) -> JobRow | None:
        """The job in a worker's hands, which it does not know of where the answer to its claim was lost."""
        with self._database.read() as session:
            held = (JobRow.status == Status.RUNNING) & (JobRow.worker_id == worker_id)
            return session.scalar(select(JobRow).where(held).limit(1))

    def renew(self, worker_id: str, claim: Claim | None) -> bool:
        """Say that the worker lives, and prolong its lease. Returns whether its job is asked to stop."""
        with self._database.write() as session:
            self._roster.stay(session, worker_id)
            if claim is None:
                return False
            return self.guarded(session, claim, lease_until=self.lease_end()).cancel_requested

    def is_cancelled(self, job_id: str) -> bool:
        """Whether a job is asked to stop: the cheap look that a ring of the bell brings about."""
        with self._database.read() as session:
            return bool(session.scalar(select(JobRow.cancel_requested).where(JobRow.id == job_id)))

    def lease_end(self) -> DatabaseTime:
        """When a lease that is prolonged now runs out."""
        return DatabaseTime(self._lease_seconds)

    def guarded(self, session: Session, claim: Claim, **values: Any) -> JobRow:
        """Change the job if it is still running in this worker's hands, else raise `LeaseLost`."""
        job_id, worker_id, attempt = claim
        mine = and_(
            JobRow.id == job_id, JobRow.status == Status.RUNNING,
            JobRow.worker_id == worker_id, JobRow.attempt == attempt,
        )  # fmt: skip
        if not _update(session, mine, **(values or {"worker_id": worker_id})):
            raise LeaseLost(job_id)
        return _find(session, job_id)

    def finish(self, session: Session, claim: Claim, status: Status, **values: Any) -> None:
        """Move a running job to where it ends, in the transaction that also holds its model and last history."""
        if Status.RUNNING not in sources(status) or status in LIVING:
            raise ValueError(f"a job does not end as {status}")
        self.guarded(session, claim, status=status, finished_at=DatabaseTime(), lease_until=None, **values)

    def has_ended(self, session: Session, claim: Claim, status: Status) -> bool:
        """Whether this claim has ended its job so: an earlier try was committed, and only the answer was lost."""
        job = session.get(JobRow, claim.job_id)
        return job is not None and job.status == status and (job.id, job.worker_id, job.attempt) == claim

    def report(self, claim: Claim, done: int, per_second: float) -> None:
        """Say how far a job is that leaves no loss history."""
        with self._database.write() as session:
            self.guarded(session, claim, epoch=done, samples_per_second=per_second)

    def hand_back(self, claim: Claim) -> None:
        """Put a job back because its worker is asked to stop: no fault of the job, so no attempt is counted."""
        with self._database.write() as session:
            if self.guarded(session, claim).cancel_requested:
                self.finish(session, claim, Status.CANCELLED)
            else:
                self.guarded(session, claim, status=Status.QUEUED, worker_id=None, lease_until=None)

    def _is_lapsed(self) -> ColumnElement[bool]:
        # One that ends later than any can was written by a clock that was wrong; its worker, if it lives, renews it.
        latest = DatabaseTime(2 * self._lease_seconds)
        return or_(JobRow.lease_until < DatabaseTime(), JobRow.lease_until > latest)

    def abandon(self, worker_id: str | None = None) -> int:
        """Give back the jobs of a dead worker, or of every worker whose lease ran out. Returns how many."""
        whose = self._is_lapsed() if worker_id is None else JobRow.worker_id == worker_id
        lost = and_(JobRow.status == Status.RUNNING, whose)
        with self._database.read() as session:
            if session.scalar(select(JobRow.id).where(lost).limit(1)) is None:
                return 0
        with self._database.write() as session:
            # Once, since more leases may run out between one statement and the next; and locked, since a worker may
            # renew its lease meanwhile: one that is at it is alive.
            jobs = JobRow.id.in_(session.scalars(select(JobRow.id).where(lost).with_for_update(skip_locked=True)).all())
            if worker_id is None and not self._roster.may_judge(session):
                return 0  # they ran out while their workers could not renew them
            living = and_(jobs, JobRow.status == Status.RUNNING)
            over = {"finished_at": DatabaseTime(), "lease_until": None}
            return (
                _update(session, and_(living, JobRow.cancel_requested), status=Status.CANCELLED, **over)
                + _update(
                    session,
                    and_(living, JobRow.attempt >= self._attempts),
                    status=Status.FAILED,
                    error=_exhausted(self._attempts),
                    **over,
                )
                + _update(
                    session, living, status=Status.QUEUED, attempt=JobRow.attempt + 1, worker_id=None, lease_until=None
                )
            )


def find(session: Session, job_id: str) -> JobRow:
    """The job with this id, if the viewer sees it."""
    query = select(JobRow).where(JobRow.id == job_id, visible(JobRow))
    job = session.scalar(query) if can_be_called(job_id) else None
    if job is None:
        raise JobNotFound(job_id)
    return job


def _find(session: Session, job_id: str) -> JobRow:
    job = session.get(JobRow, job_id, populate_existing=True)
    if job is None:
        raise JobNotFound(job_id)
    return job


def _update(session: Session, where: ColumnElement[bool], **values: Any) -> int:
    statement = update(JobRow).where(where).values(**values).returning(JobRow.id)
    return len(session.scalars(statement.execution_options(synchronize_session=False)).all())


def _exhausted(attempts: int) -> dict[str, Any]:
    return {
        "code": ErrorCode.WORKER_LOST,
        "detail": f"Its worker died or fell silent in each of {attempts} attempts, most likely for want of memory; "
        "try a smaller dataset, or look into the worker's log.",
    }
