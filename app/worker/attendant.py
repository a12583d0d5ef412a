"""The attendant: a thread beside the training that keeps the lease, writes the history, and hears of a cancel.

Training never waits for the database: it appends to a buffer, and the attendant writes what has gathered a few times
a second, in the transaction that also renews the lease. Where the training cannot hear (while data is encoded), the
attendant itself ends the job, and the process with it: a fresh worker takes its place within hundredths of a second.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app import grace
from app.database import Database, is_passing, is_uncertain
from app.errors import StorageFull
from app.job_status import Status
from app.jobs import history
from app.jobs.bell import Bell
from app.jobs.history import Measurement
from app.jobs.queue import Claim, LeaseLost, Queue
from app.jobs.roster import Roster
from app.tally import Tally
from app.worker.checkpoint import Checkpointer
from app.worker.flag import Flag
from app.worker.parent import GAVE_UP

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.25
RETRY_SECONDS = 1.0

T = TypeVar("T")


class Attendant:
    """Attends to one worker; at any time to one job or to none."""

    def __init__(
        self, database: Database, queue: Queue, roster: Roster, bell: Bell, checkpointer: Checkpointer, renew: float,
        tally: Tally,
    ) -> None:  # fmt: skip
        self._database = database
        self._queue = queue
        self._roster = roster
        self._bell = bell
        self._renew_seconds = renew
        self._renewed_at = 0.0
        self._claim: Claim | None = None
        self._buffer: list[Measurement] = []
        self._written_epoch = 0
        self._samples_per_second = 0.0
        self._rows = 0
        self._tally = tally
        self._is_troubled = False
        self._stop_seen_at = 0.0
        self._writing = threading.RLock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._attend, name="attendant", daemon=True)
        self.checkpointer = checkpointer
        self.worker_id = ""
        self.is_deaf = False
        self.stop_requested = Flag()
        self.cancel_requested = threading.Event()
        self.lease_lost = threading.Event()

    def start(self, worker_id: str, is_orphan: Callable[[], bool]) -> None:
        """Begin to attend to the worker."""
        self.worker_id = worker_id
        self._is_orphan = is_orphan
        self._thread.start()

    def end(self) -> None:
        """Stop attending."""
        self._ended.set()
        self._thread.join()

    def take(self, claim: Claim) -> None:
        """Attend to a job from now on; its training cannot hear yet."""
        with self._writing:
            self.cancel_requested.clear()
            self.lease_lost.clear()
            self._claim, self._buffer, self._renewed_at = claim, [], time.monotonic()
            self._samples_per_second = 0.0
            self._written_epoch = 0
            self.is_deaf = True
        self.checkpointer.begin(claim.job_id)

    def listen(self) -> None:
        """The training asks `should_stop` from now on, or is over."""
        with self._writing:
            self.is_deaf = False

    def go_on_from(self, epoch: int) -> None:
        """The history until this epoch is written."""
        self._written_epoch = epoch

    def record(self, epoch: list[Measurement], samples_per_second: float, rows: int) -> None:
        """Note an epoch over some rows, of a sweep with every candidate; it is written soon, and in one piece."""
        self._rows = rows
        self._buffer.extend(epoch)
        self._samples_per_second = samples_per_second

    def leave(self) -> None:
        """Hand a job back that has to stop, unless it was cancelled and is to be concluded.

        Raises:  LeaseLost, since the job is not this worker's any more
        """
        if self.cancel_requested.is_set() and not self.lease_lost.is_set():
            return
        if not self.lease_lost.is_set():
            self.insist(self.hand_back)
        raise LeaseLost("the job was handed back")

    def conclude(self, status: Status, write: Callable[[Session, list[Measurement], float], None]) -> None:
        """Let go of the job: hand what is not written yet to the transaction that ends it so."""
        self.checkpointer.finish()

        def last() -> None:
            with self._writing:
                if self._claim is None:
                    raise LeaseLost("no job is attended to")
                with self._database.write() as session:
                    if not self._queue.has_ended(session, self._claim, status):
                        write(session, self._buffer, self._samples_per_second)
                written, self._claim, self._buffer = len(self._buffer), None, []
                self._count(written)

        self.insist(last)

    def insist(self, write: Callable[[], T]) -> T:
        """Write, again and again while the disk is full or the database fails for what passes by itself.

        A job is worth waiting for. One that was cancelled waits as well, for what it has learned is to be kept.

        Raises:  LeaseLost if another worker has the job meanwhile, or this one is to stop
        """
        claim, cause = self._claim, None
        while True:
            try:
                return write()
            except (SQLAlchemyError, StorageFull) as error:
                if not (is_passing(error) or isinstance(error, StorageFull)):
                    raise
                # Files stay for as long as a commit whose answer was lost may have made them known.
                cause = cause if cause is not None and is_uncertain(cause) else error
                log.warning(
                    "a job waits to be written", job=claim and claim.job_id, reason=str(getattr(error, "orig", error))
                )
            if self.stop_requested.wait(RETRY_SECONDS) or self.lease_lost.is_set():
                self._hand_back_at_last()
                raise LeaseLost("it could not be written in time") from cause

    def _hand_back_at_last(self) -> None:
        """Spare the job an attempt: what it waited to write may be large, and this is small."""
        if not self.lease_lost.is_set():
            # Lost is a job that has ended after all: its commit was made, and the answer to it lost.
            with suppress(SQLAlchemyError, StorageFull, LeaseLost):
                self.hand_back()

    def hand_back(self) -> None:
        """Put the job back into the queue, with all that is known of it."""
        with self._writing:
            claim = self._claim
            if claim is None:
                return
            if self._buffer:
                with suppress(StorageFull):  # then whoever has the job next goes on from before these epochs
                    self._write(claim)
            self.checkpointer.publish(self._written_epoch, wait=True)
            self._queue.hand_back(claim)
            self._claim = None

    def _let_go(self) -> None:
        """The job is another's: forget it, so that the worker itself stays on the roster.

        Nobody may take the next job before, or that one would be forgotten.
        """
        self._claim, self._buffer = None, []
        self.lease_lost.set()

    def should_stop(self) -> bool:
        """Whether the training has to end before its last epoch."""
        return self.cancel_requested.is_set() or self.stop_requested.is_set() or self.lease_lost.is_set()

    def announce(self, job_id: str) -> None:
        """Tell every API process that a job has moved."""
        with self._database.read() as session:
            ports = self._roster.ports(session, "api")
        self._bell.ring(ports, job_id)

    def _attend(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            if self._is_orphan():
                self.stop_requested.set()
            try:
                with self._writing:
                    self._attend_once()
                self._is_troubled = False
            except Exception:
                # Whatever it is: without this thread every job of this worker would lose its lease.
                if not self._is_troubled:
                    log.exception("the database cannot be written; the history waits in memory")
                self._is_troubled = True

    def _attend_once(self) -> None:
        try:
            self._tick()
            if self.should_stop() and (self.is_deaf or self._is_late()):
                self._give_up()
        except LeaseLost:
            self._let_go()

    def _tick(self) -> None:
        claim = self._claim
        if claim is not None and self._buffer:
            self._write_if_there_is_room(claim)
        else:
            self._keep_in_touch(claim)
        if claim is not None:
            self.checkpointer.publish(self._written_epoch)
            self.checkpointer.look()

    def _write_if_there_is_room(self, claim: Claim) -> None:
        try:
            self._write(claim)
        except StorageFull:
            # The epochs have no room, but the lease may have: it is smaller.
            self._keep_in_touch(claim)
            raise

    def _keep_in_touch(self, claim: Claim | None) -> None:
        if time.monotonic() - self._renewed_at >= self._renew_seconds:
            self._renew()
        elif claim is not None and self._queue.is_cancelled(claim.job_id):
            self.cancel_requested.set()

    def _renew(self) -> None:
        if self._queue.renew(self.worker_id, self._claim):
            self.cancel_requested.set()
        self._renewed_at = time.monotonic()

    def _write(self, claim: Claim) -> None:
        batch = self._buffer[:]
        with self._database.write() as session:
            self._roster.stay(session, self.worker_id)
            progress: dict[str, Any] = {"samples_per_second": self._samples_per_second}
            job = history.record(session, self._queue, claim, batch, lease_until=self._queue.lease_end(), **progress)
        del self._buffer[: len(batch)]
        self._count(len(batch))
        self._written_epoch = batch[-1].epoch
        self._renewed_at = time.monotonic()
        if job.cancel_requested:
            self.cancel_requested.set()
        self.announce(claim.job_id)

    def _count(self, epochs: int) -> None:
        if epochs:
            self._tally.add(epochs=epochs, samples=epochs * self._rows)

    def _is_late(self) -> bool:
        """Whether the worker was asked to stop so long ago that it is about to be killed."""
        if not self.stop_requested.is_set():
            return False
        self._stop_seen_at = self._stop_seen_at or time.monotonic()
        return time.monotonic() - self._stop_seen_at > grace.TRAINING_SECONDS

    def _give_up(self) -> None:
        """End what cannot be stopped in time; what is recorded and kept is all that would be left of it anyway."""
        claim = self._claim
        if claim is not None:
            self._end_job(claim)
        elif not (self.is_deaf and self.lease_lost.is_set()):
            return
        os._exit(0 if self.stop_requested.is_set() else GAVE_UP)

    def _end_job(self, claim: Claim) -> None:
        if self.cancel_requested.is_set() and not self.lease_lost.is_set():
            with self._database.write() as session:
                self._queue.finish(session, claim, Status.CANCELLED)
            log.info("a job is over", job=claim.job_id, attempt=claim.attempt, status=Status.CANCELLED)
        elif not self.lease_lost.is_set():
            self.hand_back()
        with suppress(SQLAlchemyError):  # whoever waits looks by himself now and then
            self.announce(claim.job_id)
