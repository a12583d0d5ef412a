"""The launcher: how the server starts the workers, keeps them, and takes them along when it goes.

The supervisor reads from a pipe whose only writer is this process: when the server dies, however it dies, the pipe
ends and the workers go too. Nothing here imports torch.
"""

import subprocess
import sys
import threading

import structlog

from app import grace
from app.settings import Settings

log = structlog.get_logger(__name__)

RESTART_SECONDS = 1.0


class Launcher:
    """Runs the supervisor of the workers as a process of its own, and runs it again should it die."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._changing = threading.Lock()  # or a supervisor that is just being started again would outlive `stop`
        self._keeper = threading.Thread(target=self._keep, name="launcher", daemon=True)

    def start(self) -> None:
        """Start the workers, if there are to be any and they are not there yet, and return at once.

        They sign in on the roster when they are ready.
        """
        if self._process is not None or not self._settings.workers:
            return
        self._process = self._launch()
        self._keeper.start()

    def stop(self) -> None:
        """Stop the workers and wait until they are gone."""
        with self._changing:
            self._stopping.set()
            process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(grace.SUPERVISOR_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _launch(self) -> subprocess.Popen[bytes]:
        # A group of its own: Ctrl-C reaches the server alone, which then stops the workers in order. No session of its
        # own: Linux may share the cores out among sessions first, and then the workers' niceness would not count
        # against the server.
        return subprocess.Popen(
            [sys.executable, "-m", "app.worker"],
            stdin=subprocess.PIPE,
            env=self._settings.environment(),
            process_group=0,
        )

    def _relaunch(self) -> None:
        """Start a new supervisor as soon as the system has room for one, unless the server stops before."""
        while True:
            with self._changing:
                if self._stopping.is_set():
                    return
                try:
                    self._process = self._launch()
                except OSError:
                    log.exception("the supervisor of the workers cannot be started; it is tried again")
                else:
                    return
            self._stopping.wait(RESTART_SECONDS)

    def _keep(self) -> None:
        while self._process is not None:
            status = self._process.wait()
            if self._stopping.wait(RESTART_SECONDS):
                return
            if self._process.stdin is not None:
                self._process.stdin.close()
            log.error("the supervisor of the workers died and is started again", exit_status=status)
            self._relaunch()
