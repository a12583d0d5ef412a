"""Watching: how an API process learns at once that a job has moved, without asking the database in a loop."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.jobs.bell import Bell


class Watch:
    """Turns rings of the bell into wake-ups of the coroutines that wait for a job.

    A worker rings with the id of the job that moved. Whoever waits also looks every `poll_seconds`, because a ring
    may be lost, and is woken when the server stops, so that no open request outlives it.
    """

    def __init__(self, bell: Bell, poll_seconds: float) -> None:
        self._bell = bell
        self._poll_seconds = poll_seconds
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self.stopping = False

    def start(self) -> None:
        """Listen to the bell in the running event loop."""
        asyncio.get_running_loop().add_reader(self._bell.fileno(), self._on_ring)

    def stop(self) -> None:
        """Wake everyone for the last time."""
        self.stopping = True
        for job_id in list(self._waiting):
            self._wake(job_id)

    def close(self) -> None:
        """Stop listening."""
        asyncio.get_running_loop().remove_reader(self._bell.fileno())

    @contextmanager
    def on(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job moves. Subscribe first, then look, so that no move is missed."""
        event = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def deadline(self, seconds: float) -> Callable[[], float]:
        """A count-down of the seconds that remain."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        return lambda: end - clock()

    async def next(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for the event, the polling interval, or `seconds`, whichever comes first."""
        if self.stopping:
            return
        try:
            await asyncio.wait_for(event.wait(), min(seconds, self._poll_seconds))
        except TimeoutError:
            return
        finally:
            event.clear()

    def _on_ring(self) -> None:
        for job_id in self._bell.drain():
            self._wake(job_id)

    def _wake(self, job_id: str) -> None:
        for event in self._waiting.get(job_id, ()):
            event.set()
