"""The loop of a worker: sign in, claim, train, until told to stop."""

import os
import signal
import tempfile
import time
from contextlib import suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app import logs, memory
from app.database import Database, is_passing, is_uncertain
from app.datasets.catalogue import Catalogue
from app.disk import Disk
from app.errors import StorageFull
from app.jobs import checkpoints
from app.jobs.bell import Bell
from app.jobs.queue import Claim, LeaseLost, Queue
from app.jobs.roster import Roster
from app.models.registry import Registry
from app.settings import Settings
from app.storage import Storage
from app.tables import JobRow
from app.tally import Tally
from app.training import devices
from app.training.errors import DeviceFailed
from app.worker.attendant import Attendant
from app.worker.batch_prediction import BatchPrediction
from app.worker.checkpoint import Checkpointer
from app.worker.execution import Execution
from app.worker.parent import GAVE_UP, is_orphan_of

log = structlog.get_logger(__name__)

NICENESS = 5


class Worker:
    """One training process: at any time it holds one job or none."""

    def __init__(self, settings: Settings, supervisor: int) -> None:
        logs.configure(settings.log_level, settings.log_format)
        self._settings = settings
        self._database = Database(settings.resolved_database_url)
        self._storage = Storage(settings.data_dir, Disk(settings.data_dir, *settings.disk_limits))
        self._bell = Bell()
        self._roster = Roster(self._database, settings.lease_seconds)
        self._queue = Queue(
            self._database, self._roster, settings.lease_seconds, settings.attempts, settings.queue_limit
        )
        self._registry = Registry(self._database, self._storage)
        self._catalogue = Catalogue(
            self._database, self._storage, settings.matrix_cache_bytes, settings.worker_memory_bytes
        )
        checkpointer = Checkpointer(self._storage, settings.checkpoint_seconds)
        self._attendant = Attendant(
            self._database, self._queue, self._roster, self._bell, checkpointer, settings.lease_seconds / 5,
            Tally(settings.data_dir),
        )  # fmt: skip
        self._is_orphan = is_orphan_of(supervisor)
        self._is_in_doubt = False  # whether the last claim was committed
        tempfile.tempdir = str(self._storage.scratch)  # where training puts a matrix that exceeds the memory

    def run(self) -> int:
        """Work until a signal, or until the supervisor is gone; returns the exit status."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # a stop that came earlier has waited for this
        offered = devices.available()
        memory.settle()
        memory.collect_seldom()
        worker_id = self._roster.sign_in("worker", self._bell.port, offered)
        self._attendant.start(worker_id, self._is_orphan)
        log.info("worker ready", worker=worker_id, devices=offered)
        status = self._serve(worker_id, offered)
        self._attendant.end()
        self._roster.sign_out(worker_id)
        return status

    def _serve(self, worker_id: str, offered: list[str]) -> int:
        """Carry out one job after the other; returns the exit status."""
        while not self._attendant.stop_requested.is_set():
            job = self._next(worker_id, offered)
            if job is None:
                self._bell.wait(self._settings.poll_seconds)
                continue
            with structlog.contextvars.bound_contextvars(job=job.id, attempt=job.attempt):
                self._execute(worker_id, job)
            if not _gpu_is_well():
                return GAVE_UP
        return 0

    def _next(self, worker_id: str, offered: list[str]) -> JobRow | None:
        try:
            self._queue.abandon()
            held = self._queue.held_by(worker_id) if self._is_in_doubt else None
            self._is_in_doubt = False
            return held or self._queue.claim(worker_id, offered)
        except (SQLAlchemyError, StorageFull) as error:
            self._is_in_doubt = self._is_in_doubt or is_uncertain(error)
            if not (is_passing(error) or isinstance(error, StorageFull)):
                raise
            log.warning("no job can be claimed now", reason=str(error.__cause__ or error))
            return None

    def _execute(self, worker_id: str, job: JobRow) -> None:
        claim, began = Claim(job.id, worker_id, job.attempt), time.perf_counter()
        log.info("a job is claimed", kind=job.kind)
        self._attendant.take(claim)
        _give_way()
        rooms = (self._storage, self._catalogue, self._registry, self._queue, self._attendant)
        execution = (
            BatchPrediction(job, claim, *rooms)
            if job.kind == "predict"
            else Execution(job, claim, self._database, *rooms)
        )
        try:
            outcome = execution.run()
        except LeaseLost as lost:
            log.warning("a job is left to another worker", reason=str(lost))
        else:
            log.info("a job is over", **outcome.line(), seconds=round(time.perf_counter() - began, 6))
            if not self._settings.keep_checkpoints_days:
                self._storage.delete(checkpoints.key(job.id))
        # Otherwise the process might be ended for this job's sake while it claims another one.
        self._attendant.listen()
        with suppress(SQLAlchemyError):  # whoever waits looks by himself now and then
            self._attendant.announce(job.id)

    def _stop(self) -> None:
        # A signal comes in the middle of anything, of this as well: no lock may be taken here.
        self._attendant.stop_requested.set()
        # Ring our own bell, should the loop be asleep.
        self._bell.ring([self._bell.port])


def _gpu_is_well() -> bool:
    """Whether this process can go on; what the last job has left in the GPU's memory is given back."""
    try:
        devices.release()
    except DeviceFailed:
        log.exception("the GPU has failed; another process takes the place of this worker")
        return False
    return True


def _give_way() -> None:
    """Whoever waits for a prediction comes before whoever waits for a job; on an idle core it makes no difference."""
    os.nice(max(0, NICENESS - os.nice(0)))
