"""The census: what is in the database, in numbers. Two short queries, whatever the number of jobs."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select

from app.database import Database
from app.job_status import LIVING, Status
from app.tables import DatasetRow, JobRow, ModelRow


@dataclass(frozen=True)
class Census:
    """How many there are of each, how long the oldest queued job has waited, how fast the running ones are."""

    jobs: dict[Status, int]
    datasets: int
    models: int
    queue_age_seconds: float
    samples_per_second: float


def census(database: Database) -> Census:
    """Count everything, in one state of the database."""
    # The first is answered from the queue's index alone, the second reads the few jobs that are not over.
    by_status = select(JobRow.status, func.count()).group_by(JobRow.status)
    living = (
        select(JobRow.status, func.min(JobRow.created_at), func.sum(JobRow.samples_per_second))
        .where(JobRow.status.in_(LIVING)).group_by(JobRow.status)
    )  # fmt: skip
    totals = select(
        select(func.count()).select_from(DatasetRow).scalar_subquery(),
        select(func.count()).select_from(ModelRow).scalar_subquery(),
    )
    with database.read() as session:
        jobs = {Status(status): count for status, count in session.execute(by_status)}
        since = {status: (oldest, speed) for status, oldest, speed in session.execute(living)}
        datasets, models = session.execute(totals).one()
    oldest = since.get(Status.QUEUED, (None, None))[0]
    return Census(
        jobs=dict.fromkeys(Status, 0) | jobs,
        datasets=datasets,
        models=models,
        queue_age_seconds=_age(oldest),
        samples_per_second=since.get(Status.RUNNING, (None, None))[1] or 0.0,
    )


def _age(created_at: datetime | None) -> float:
    return max(0.0, (datetime.now(UTC) - created_at).total_seconds()) if created_at is not None else 0.0
