"""The room in the queue: how many jobs may wait, in all and of one owner."""

from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.access.viewer import viewer
from app.errors import QueueFull
from app.job_status import Status
from app.tables import JobRow

RETRY_SECONDS = 10
"""When a client that found the queue full may try again."""


@dataclass(frozen=True)
class Room:
    """The limits; the viewer's own holds where there are keys."""

    limit: int
    limit_per_key: int | None = None

    def check(self, session: Session) -> None:
        """Refuse a job for which there is none."""
        queued = select(JobRow.id).where(JobRow.status == Status.QUEUED)
        if _reaches(session, queued, self.limit):
            raise QueueFull(self.limit, RETRY_SECONDS)
        owner, limit = viewer().owner, self.limit_per_key
        if owner is not None and limit is not None and _reaches(session, queued.where(JobRow.owner == owner), limit):
            raise QueueFull(limit, RETRY_SECONDS, "of this key's owner")


def _reaches(session: Session, found: Select[str], limit: int) -> bool:
    """Whether there are so many; it looks at no more than these."""
    return session.scalar(select(func.count()).select_from(found.limit(limit).subquery())) == limit
