"""Upkeep: what a service does by itself now and then, in a thread beside the requests."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Chore:
    """Something to do every so many seconds."""

    name: str
    every_seconds: float
    work: Callable[[], object]


class Upkeep:
    """Does its chores while the service runs, the first time at once. One that fails is tried again in its turn."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._due = dict.fromkeys(chores, time.monotonic())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(max(0.0, min(self._due.values()) - time.monotonic())):
            for chore, due in self._due.items():
                if due <= time.monotonic() and not self._ended.is_set():
                    self._do(chore)

    def _do(self, chore: Chore) -> None:
        try:
            done = chore.work()
        except Exception:
            log.exception("a chore failed and is tried again later", chore=chore.name)
        else:
            if done:
                log.info("a chore is done", chore=chore.name, done=done)
        self._due[chore] = time.monotonic() + chore.every_seconds
