"""Where the checkpoint of a job lies in the storage, and the removal of those that nobody needs any more."""

import time

from app.database import Database
from app.job_status import LIVING
from app.storage import Storage
from app.tables import JobRow

COLLECTION = "checkpoints"
_SUFFIX = ".safetensors"


def key(job_id: str) -> str:
    """Where the checkpoint of a job lies."""
    return f"{COLLECTION}/{job_id}{_SUFFIX}"


def sweep(database: Database, storage: Storage, keep_seconds: float) -> int:
    """Remove the checkpoints of jobs that are gone, or that have been over for so long. Returns how many."""
    removed = 0
    for file in storage.files(COLLECTION):
        job_id = file.name.removesuffix(_SUFFIX)
        if _is_outlived(database, job_id, keep_seconds):
            storage.delete(key(job_id))
            removed += 1
    return removed


def _is_outlived(database: Database, job_id: str, keep_seconds: float) -> bool:
    with database.read() as session:
        job = session.get(JobRow, job_id)
    if job is None:
        return True
    if job.status in LIVING or job.finished_at is None:
        return False
    return time.time() - job.finished_at.timestamp() >= keep_seconds
