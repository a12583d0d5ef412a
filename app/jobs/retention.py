"""Retention: jobs and loss histories that have been kept long enough are removed, a few at a time."""

from sqlalchemy import delete, exists, select

from app.database import Database, DatabaseTime
from app.job_status import OVER
from app.tables import EpochRow, JobRow

AT_A_TIME = 50
DAY_SECONDS = 86_400.0


def retire_jobs(database: Database, keep_days: float | None) -> int:
    """Remove the jobs that have been over for so many days, with their history; models stay. Returns how many."""
    removed = 0
    while old := _old(database, keep_days, with_history=False):
        with database.patiently(), database.write() as session:
            session.execute(delete(JobRow).where(JobRow.id.in_(old)))
        removed += len(old)
    return removed


def retire_histories(database: Database, keep_days: float | None) -> int:
    """Remove the history of jobs that have been over for so many days; the jobs stay. Returns of how many."""
    removed = 0
    while old := _old(database, keep_days, with_history=True):
        for job_id in old:
            with database.patiently(), database.write() as session:
                session.execute(delete(EpochRow).where(EpochRow.job_id == job_id))
        removed += len(old)
    return removed


def _old(database: Database, keep_days: float | None, with_history: bool) -> list[str]:
    if keep_days is None:
        return []
    long_over = JobRow.status.in_(OVER) & (JobRow.finished_at < DatabaseTime(-keep_days * DAY_SECONDS))
    query = select(JobRow.id).where(long_over).limit(AT_A_TIME)
    if with_history:
        query = query.where(exists().where(EpochRow.job_id == JobRow.id))
    with database.read() as session:
        return list(session.scalars(query))
