"""A server of the demo's own: a free port, a temporary data directory, gone afterwards."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from app.demo.failure import DemoFailed

READY_SECONDS = 120.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05
LOG_LINES = 15


class Server:
    """`onelayer serve` as a process; ready when the `with` block begins, stopped when it ends."""

    def __init__(self) -> None:
        self.url = ""
        self._folder = tempfile.TemporaryDirectory(prefix="onelayer-demo-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        data_dir = Path(self._folder.name) / "data"
        command = [sys.executable, "-m", "app", "serve", "--host", "127.0.0.1", "--port", "0"]
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C reaches the demo alone, which then stops the server in order.
            self._process = subprocess.Popen(  # noqa: S603 - the command is the one above
                [*command, "--data-dir", str(data_dir)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            if self._process is not None and self._process.poll() is not None:
                raise DemoFailed(f"the server ended before it was ready:\n{self._last_lines()}")
            if time.monotonic() > deadline:
                raise DemoFailed(f"the server was not ready in {READY_SECONDS:.0f} s:\n{self._last_lines()}")
            time.sleep(POLL_SECONDS)

    def _ready(self) -> bool:
        # The port is the system's choice, which the log tells: one looked for beforehand may be another's by then.
        said = re.search(rb'"url":"(http://[^"]+)"[^\n]*"serving"', self._log.read_bytes())
        if said is None:
            return False
        self.url = said[1].decode()
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=5.0).is_success
        except httpx.TransportError:
            return False

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def _environment() -> dict[str, str]:
    """The environment without the user's settings: the demo must not write to a database of theirs."""
    kept = {"ONELAYER_CACHE_DIR"}
    return {name: value for name, value in os.environ.items() if name in kept or not name.startswith("ONELAYER_")}
