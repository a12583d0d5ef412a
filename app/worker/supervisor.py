"""The supervisor: loads torch and numba once, forks the workers, and replaces each that dies.

It computes nothing itself, so that no thread pool exists when it forks, and a new worker is ready within milliseconds.
"""

import os
import selectors
import signal
import time
from contextlib import suppress
from typing import IO

import structlog

from app import grace
from app.database import Database
from app.jobs.queue import Queue
from app.jobs.roster import Roster
from app.migrate import is_current, refuse_newer
from app.settings import Settings
from app.tally import Tally
from app.worker.parent import GAVE_UP

log = structlog.get_logger(__name__)

SCHEMA_POLL_SECONDS = 0.02
LONGEST_SCHEMA_POLL_SECONDS = 1.0
SHORT_LIFE_SECONDS = 1.0
RETRY_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 30.0


class Supervisor:
    """Keeps `settings.workers` workers alive until a signal, or the end of its lifeline, says to stop."""

    def __init__(self, settings: Settings, lifeline: IO[bytes] | None = None) -> None:
        self._settings = settings
        self._lifeline = lifeline
        self._children: dict[int, float] = {}
        self._short_lives = 0
        self._next_start = 0.0
        self._stopping = False
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Supervise until told to stop; returns the exit status."""
        self._listen()
        _load(self._settings)
        self._await_schema()
        self._bury()
        while not self._stopping:
            self._start_missing()
            self._await(1.0)
            self._reap()
        self._stop_children()
        self._bury()
        return 0

    def _listen(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(reader, selectors.EVENT_READ)
        if self._lifeline is not None:
            self._selector.register(self._lifeline, selectors.EVENT_READ)

    def _on_stop(self, *_: object) -> None:
        self._stopping = True

    def _await(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            # The lifeline carries no data: if it can be read, its other end is closed.
            if key.fileobj is self._lifeline:
                self._stopping = True
            else:
                os.read(key.fd, 4096)

    def _await_schema(self) -> None:
        """Wait until the database has the schema that this code needs: the server may still be migrating it.

        Raises:  UnknownSchema if it has one that this code will never reach
        """
        self._settings.data_dir.mkdir(parents=True, exist_ok=True)
        database = Database(self._settings.resolved_database_url)
        try:
            pause = SCHEMA_POLL_SECONDS
            while not self._stopping and not is_current(database):
                refuse_newer(database)
                if pause == SCHEMA_POLL_SECONDS:
                    log.info("the workers wait until a server, or `onelayer migrate`, brings the database up to date")
                self._await(pause)
                pause = min(2 * pause, LONGEST_SCHEMA_POLL_SECONDS)
        finally:
            database.dispose()

    def _start_missing(self) -> None:
        while len(self._children) < self._settings.workers and time.monotonic() >= self._next_start:
            try:
                process = self._fork()
            except OSError:
                log.exception("no worker can be started now; it is tried again")
                self._next_start = time.monotonic() + RETRY_SECONDS
                return
            self._children[process] = time.monotonic()

    def _fork(self) -> int:
        """Start a worker; returns its process."""
        supervisor = os.getpid()  # the worker's parent may be another by the time that it asks
        # A worker has the supervisor's handler at first, to which its own stop would be lost: until it has another
        # one, and lets the signal through again, the signal waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            process = os.fork()
            if process == 0:
                self._become_worker(supervisor)
            return process
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _become_worker(self, supervisor: int) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            from app.worker.loop import Worker

            status = Worker(self._settings, supervisor).run()
        except BaseException:
            log.exception("a worker died")
        finally:
            os._exit(status)

    def _reap(self) -> None:
        while self._children:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            lived = time.monotonic() - self._children.pop(process)
            gave_up = os.waitstatus_to_exitcode(status) == GAVE_UP
            self._short_lives = self._short_lives + 1 if lived < SHORT_LIFE_SECONDS and not gave_up else 0
            wait = (
                min(LONGEST_BACKOFF_SECONDS, 0.25 * 2 ** min(self._short_lives, 10)) if self._short_lives > 1 else 0.0
            )
            self._next_start = time.monotonic() + wait
            Tally(self._settings.data_dir).add(worker_restarts=1)
            log.warning("a worker ended and is replaced", pid=process, status=os.waitstatus_to_exitcode(status))
            self._bury()

    def _bury(self) -> None:
        """Give the jobs of dead workers back to the queue at once, not when their leases run out."""
        database = Database(self._settings.resolved_database_url)
        try:
            roster = Roster(database, self._settings.lease_seconds)
            settings = self._settings
            queue = Queue(database, roster, settings.lease_seconds, settings.attempts, settings.queue_limit)
            for process_id in roster.dead():
                queue.abandon(process_id)
                roster.sign_out(process_id)
        except Exception:
            log.exception("the jobs of dead workers wait for their leases to run out")
        finally:
            # No connection may cross a fork.
            database.dispose()

    def _stop_children(self) -> None:
        for process in self._children:
            os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + grace.WORKERS_SECONDS
        while self._children and time.monotonic() < deadline:
            process, _ = os.waitpid(-1, os.WNOHANG)
            if process:
                self._children.pop(process)
            else:
                time.sleep(0.01)
        for process in self._children:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        self._children.clear()


def _load(settings: Settings) -> None:
    cache = settings.resolved_cache_dir / "numba"
    with suppress(OSError):  # then the loops are compiled again at each start
        cache.mkdir(parents=True, exist_ok=True)
    os.environ["NUMBA_CACHE_DIR"] = str(cache)
    # Read when the libraries are loaded, hence before the imports below. The bits of a result depend on it.
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(settings.resolved_threads)
    import torch  # noqa: F401  held warm for every worker that is forked

    import app.worker.loop  # noqa: F401
    from app.training import kernels

    kernels.warm()
