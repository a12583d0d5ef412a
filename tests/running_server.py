"""A running server for tests: the command that a person would type, on a free port."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

READY_SECONDS = 180.0


class RunningServer:
    """`onelayer serve` as a process, with an HTTP client for it."""

    def __init__(self, data_dir: Path, ready: str = "/readyz", **settings: Any) -> None:
        self.data_dir = data_dir
        self._ready = ready
        self.port = 0
        self.client = httpx.Client(timeout=120, trust_env=False)
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, once it was started."""
        assert self.port, "a server that was never started has no address"
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """Where the server's own output goes."""
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.client.close()
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.stop()

    def start(self) -> None:
        """Start it and wait until it is ready: on a free port, and when it is started again on the same one."""
        own = {f"ONELAYER_{name.upper()}": str(value) for name, value in self.settings.items()}
        with self.log.open("ab") as log:
            said = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app", "serve", "--port", str(self.port), "--data-dir", str(self.data_dir)],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env={**os.environ, **own},
            )  # fmt: skip
        # Its own word for it comes first: on its port another server may answer until then, and be ready.
        self._wait_until(lambda: self._listens(said))
        self._wait_until(self.is_ready)

    def _wait_until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not holds():
            assert self.process is not None
            assert self.process.poll() is None, f"the server ended:\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"the server is not ready:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.1)  # each look costs a starting server some milliseconds

    def _listens(self, said: int) -> bool:
        """Whether its log says where it listens, after what was said before."""
        *lines, _ = self.log.read_bytes()[said:].split(b"\n")
        own = (re.search(rb'http://[^"\s]+:(\d+)', line) for line in lines if b"serving" in line)
        found = next(filter(None, own), None)
        if found is not None:
            self.port = int(found[1])
            self.client.base_url = httpx.URL(self.url)
        return found is not None

    def is_ready(self) -> bool:
        """Whether it says so."""
        try:
            return self.client.get(self._ready).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, how: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(how)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def create_dataset(self, source: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """POST /datasets from a source; returns the dataset."""
        reply = self.client.post("/datasets", json={"source": source, **fields})
        assert reply.status_code == 201, reply.text
        dataset: dict[str, Any] = reply.json()
        return dataset

    def train(self, wait: int = 60, **spec: Any) -> dict[str, Any]:
        """POST /jobs and wait until it is over; returns the job."""
        reply = self.client.post("/jobs", json=spec, headers={"Prefer": f"wait={wait}"})
        assert reply.status_code == 200, reply.text
        job: dict[str, Any] = reply.json()
        return job

    def history(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """The job's loss history."""
        items: list[dict[str, Any]] = self.client.get(f"/jobs/{job['id']}/history").json()["items"]
        return items
