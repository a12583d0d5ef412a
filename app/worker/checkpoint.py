"""Checkpoints: the state of a training on disk, from which another worker goes on with the same bits.

The training thread copies its state when the time has come; a thread of its own writes the copy, once the history up to
that epoch is in the database. A checkpoint whose history is not whole, or that another machine or version made, is
not used.
"""

import json
import threading
import time
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import structlog
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from app.jobs.checkpoints import key
from app.storage import Storage
from app.training.problem import Parameters
from app.training.state import State

log = structlog.get_logger(__name__)

_NO_MATTER = ("priority", "time_limit_seconds", "model_name")

SHARE = 0.02 / 2
"""Of the run's time that copying and writing may take, by half its bound."""


@dataclass(frozen=True)
class Best:
    """The parameters of the epoch with the least loss so far, which a cancelled job keeps, and whose they are."""

    loss: float
    parameters: Parameters
    epoch: int
    candidate: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """What a worker needs to go on, and the identity of what it computes: data, spec, machine, versions."""

    state: State
    best: Best
    seconds: float
    identity: str

    def to_bytes(self) -> bytes:
        """The checkpoint as a safetensors file."""
        own = self.best.parameters
        best = {f"best.{name}": np.ascontiguousarray(getattr(own, name)) for name in ("weights", "bias")}
        arrays, scalars = self.state.to_arrays()
        state = {f"state.{name}": np.ascontiguousarray(values) for name, values in arrays.items()}
        found = {"loss": self.best.loss, "epoch": self.best.epoch, "candidate": self.best.candidate}
        kept = {"identity": self.identity, "seconds": self.seconds, "best": found, "state": scalars}
        return save({**state, **best}, metadata={"checkpoint": json.dumps(kept)})

    @classmethod
    def load(cls, storage: Storage, job_id: str, identity: str) -> Self | None:
        """The job's checkpoint, if there is one that this worker can go on from."""
        try:
            with safe_open(storage.path(key(job_id)), framework="numpy") as file:
                kept: dict[str, Any] = json.loads(file.metadata()["checkpoint"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dictionary
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, KeyError, ValueError):
            log.exception("a checkpoint cannot be read; the job begins anew", job=job_id)
            return None
        if kept["identity"] != identity:
            log.warning("a checkpoint is of another machine or version; the job begins anew", job=job_id)
            return None
        prefix = "state."
        state = {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
        best = Best(parameters=Parameters(arrays["best.weights"], arrays["best.bias"]), **kept["best"])
        return cls(State.from_arrays(state, kept["state"]), best, kept["seconds"], identity)


class Checkpointer:
    """Keeps the checkpoint of one job at a time, at most so often that it costs next to nothing."""

    def __init__(self, storage: Storage, every_seconds: float) -> None:
        self._storage = storage
        self._every_seconds = every_seconds
        self._job_id = ""
        self._next_at = 0.0
        self._offered: Checkpoint | None = None
        self._copy_seconds = 0.0
        self._writer: threading.Thread | None = None
        # A writer that is made and not started yet can be neither joined nor overlooked.
        self._starting = threading.Lock()
        self.wanted = False

    def begin(self, job_id: str) -> None:
        """Attend to another job."""
        self.finish()
        self._job_id, self._next_at = job_id, time.monotonic() + self._every_seconds

    def finish(self) -> None:
        """Write no further checkpoint of the job; whoever publishes does so in another thread."""
        with self._starting:
            self.wanted, self._offered = False, None
            writer, self._writer = self._writer, None
        if writer is not None:
            writer.join()

    def look(self) -> None:
        """Ask the training for its state if the time has come."""
        idle = self._writer is None or not self._writer.is_alive()
        if self._job_id and idle and self._offered is None and time.monotonic() >= self._next_at:
            self.wanted = True

    def offer(self, checkpoint: Checkpoint, copy_seconds: float) -> None:
        """Take the state that the training has copied."""
        self._offered, self._copy_seconds, self.wanted = checkpoint, copy_seconds, False

    def publish(self, written_epoch: int, wait: bool = False) -> None:
        """Write what was offered, if the history up to its epoch is in the database; wait until all is written."""
        with self._starting:
            offered = self._offered
            if offered is not None and offered.state.epoch <= written_epoch:
                self._offered = None
                about = self._job_id, offered, self._writer
                writer = threading.Thread(target=self._write, args=about, name="checkpoint")
                writer.start()
                self._writer = writer
            last = self._writer
        if wait and last is not None:
            last.join()

    def _write(self, job_id: str, checkpoint: Checkpoint, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()  # a worker that leaves keeps every epoch, and the newest is to stay
        began = time.monotonic()
        try:
            self._storage.write(key(job_id), checkpoint.to_bytes())
        except Exception:
            log.exception("a checkpoint could not be written; the one before it stays", job=job_id)
        now = time.monotonic()
        cost = now - began + self._copy_seconds
        self._next_at = now + max(self._every_seconds, cost / SHARE)


def identity(receipt: dict[str, Any], spec: dict[str, Any]) -> str:
    """What two workers have to agree on for one to go on with the same bits where the other was."""
    matters = {name: value for name, value in spec.items() if name not in _NO_MATTER}
    return json.dumps({"receipt": receipt, "spec": matters}, sort_keys=True)
