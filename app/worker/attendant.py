"""The attendant: a thread beside the training that keeps the lease, writes the history, and hears of a cancel.

Training never waits for the database: it appends to a buffer, and the attendant writes what has gathered a few times
a second, in the transaction that also renews the lease.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.database import Database
from app.errors import OnelayerError
from app.jobs import history
from app.jobs.bell import Bell
from app.jobs.history import Measurement
from app.jobs.queue import Claim, LeaseLost, Queue
from app.jobs.roster import Roster

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.25


class Attendant:
    """Attends to one worker; at any time to one job or to none."""

    def __init__(self, database: Database, queue: Queue, roster: Roster, bell: Bell, lease_seconds: float) -> None:
        self._database = database
        self._queue = queue
        self._roster = roster
        self._bell = bell
        self._renew_seconds = lease_seconds / 5
        self._renewed_at = 0.0
        self._claim: Claim | None = None
        self._buffer: list[Measurement] = []
        self._samples_per_second = 0.0
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._attend, name="attendant", daemon=True)
        self.worker_id = ""
        self.stop_requested = threading.Event()
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
        """Attend to a job from now on."""
        self.cancel_requested.clear()
        self.lease_lost.clear()
        with self._writing:
            self._claim, self._buffer, self._renewed_at = claim, [], time.monotonic()

    def record(self, epoch: Measurement, samples_per_second: float) -> None:
        """Note an epoch; it is written soon."""
        self._buffer.append(epoch)
        self._samples_per_second = samples_per_second

    def conclude(self, write: Callable[[Session, list[Measurement], float], None]) -> None:
        """Let go of the job: hand what is not written yet to the transaction that ends it."""
        with self._writing:
            claim, rest = self._claim, self._buffer
            self._claim, self._buffer = None, []
            if claim is None:
                raise LeaseLost("no job is attended to")
            with self._database.write() as session:
                write(session, rest, self._samples_per_second)

    def should_stop(self) -> bool:
        """Whether the training has to end before its last epoch."""
        return self.cancel_requested.is_set() or self.stop_requested.is_set() or self.lease_lost.is_set()

    def ring(self) -> None:
        """Tell every API process that the job has moved."""
        if self._claim is not None:
            self.announce(self._claim[0])

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
                self._tick()
            except LeaseLost:
                self.lease_lost.set()
            except (SQLAlchemyError, OnelayerError):
                log.exception("the database could not be written; the history waits in memory")

    def _tick(self) -> None:
        with self._writing:
            if self._claim is not None and self._buffer:
                self._write()
            elif time.monotonic() - self._renewed_at >= self._renew_seconds:
                self._renew()
            elif self._claim is not None and self._queue.is_cancelled(self._claim[0]):
                self.cancel_requested.set()

    def _renew(self) -> None:
        if self._queue.renew(self.worker_id, self._claim):
            self.cancel_requested.set()
        self._renewed_at = time.monotonic()

    def _write(self) -> None:
        claim, count = self._claim, len(self._buffer)
        assert claim is not None
        batch = self._buffer[:count]
        with self._database.write() as session:
            self._roster.stay(session, self.worker_id)
            progress: dict[str, Any] = {"samples_per_second": self._samples_per_second}
            job = history.record(session, self._queue, claim, batch, lease_until=self._queue.lease_end(), **progress)
        del self._buffer[:count]
        self._renewed_at = time.monotonic()
        if job.cancel_requested:
            self.cancel_requested.set()
        self.ring()


def is_orphan_of(supervisor: int) -> Callable[[], bool]:
    """Whether the supervisor that forked this process is gone."""
    return lambda: os.getppid() != supervisor
