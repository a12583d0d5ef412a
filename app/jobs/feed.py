"""The feed of a job: what has happened to it, read from the database once for any number of watchers.

    worker ──ring──► feed ──reads new epochs once, renders them once──► block, block, block ──► watcher, watcher, …

A watcher that begins earlier than the feed, or that has fallen behind its window, reads the epochs it lacks from the
database until it has caught up.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from app.database import Database
from app.errors import JobNotFound
from app.job_status import OVER
from app.jobs import history
from app.jobs.queue import Queue
from app.jobs.watch import Watch
from app.tables import EpochRow, JobRow

log = structlog.get_logger(__name__)

WINDOW_BYTES = 4 * 2**20
PAGE_EPOCHS = 2000
KEPT_PAGES = 16
REPLAYS_AT_ONCE = 2
"""How many read history for watchers that came late, of all jobs together: requests need threads too."""

PIECE_BYTES = 64 * 2**10
"""What a watcher is handed at a time: so much waits in memory for each that does not read."""

QUIET_SECONDS = 15.0


class Rendering(Protocol):
    """How epochs and states look on the wire."""

    def epochs(self, rows: Sequence[EpochRow]) -> bytes:
        """Some epochs, in order."""

    def status(self, job: JobRow) -> bytes:
        """Where the job stands."""

    def gone(self, job_id: str) -> bytes:
        """The job is no longer there."""

    def quiet(self) -> bytes:
        """A sign of life while nothing happens."""


@dataclass(frozen=True)
class Block:
    """The epochs after `after` until `until`, or a change of state where both are the same, ready to be sent."""

    number: int
    after: int
    until: int
    data: bytes

    @property
    def is_status(self) -> bool:
        """Whether it tells of a change of state."""
        return self.after == self.until


class Feed:
    """Follows one job on behalf of all its watchers."""

    def __init__(
        self, job_id: str, rendering: Rendering, database: Database, queue: Queue, watch: Watch,
        replaying: asyncio.Semaphore,
    ) -> None:  # fmt: skip
        self._replaying = replaying
        self._pages: OrderedDict[int, Block] = OrderedDict()
        self._rewinds = 0
        self._job_id = job_id
        self._rendering = rendering
        self._database = database
        self._queue = queue
        self._watch = watch
        self._blocks: deque[Block] = deque()
        self._bytes = 0
        self._next_number = 0
        self._epoch = 0
        self._job: JobRow | None = None
        self._moved = asyncio.Event()
        self._ended = False
        self.watchers = 0

    async def run(self) -> None:
        """Read what is new whenever the job moves, until it is over or the server stops."""
        try:
            with self._watch.on(self._job_id) as rung:
                job = await run_in_threadpool(self._queue.get, self._job_id)
                self._job, self._epoch = job, job.epoch
                self._wake()
                while not (self._job.status in OVER or self._watch.stopping):
                    await self._watch.next(rung, QUIET_SECONDS)
                    number = self._next_number
                    await self._catch_up()
                    if self._next_number != number:  # a watcher that is woken for nothing would never find it quiet
                        self._wake()
        except JobNotFound:
            self._append(self._epoch, self._rendering.gone(self._job_id))
        except SQLAlchemyError:
            log.exception("the events of a job end early; its watchers come back", job=self._job_id)
        finally:
            self._ended = True
            self._wake()

    async def watch(self, cursor: int) -> AsyncIterator[bytes]:
        """Where the job stands, every epoch after `cursor`, and each change of state, until the job is over or gone."""
        while self._job is None and not self._ended:
            await self._wait()
        # Taken together, before anything is awaited: what is older than `number` is in the database.
        job, number, until = self._job, self._next_number, self._epoch
        if job is None:
            for block in self._blocks:  # it went before it was looked at
                yield block.data
            return
        if job.status not in OVER:
            yield self._rendering.status(job)
        async for block in self._replay(cursor, until):
            cursor = block.until
            yield block.data
        if job.status in OVER:
            yield self._rendering.status(job)
            return
        async for data in self._follow(cursor, number):
            yield data

    async def _follow(self, cursor: int, number: int) -> AsyncIterator[bytes]:
        while True:
            blocks = [block for block in self._blocks if block.number >= number]
            number = self._next_number
            for block in blocks:
                if block.is_status:
                    yield block.data
                elif block.after == cursor:
                    cursor = block.until
                    yield block.data
                elif block.until > cursor:
                    async for replayed in self._replay(cursor, block.until):
                        cursor = replayed.until
                        yield replayed.data
            if number == self._next_number and self._ended:
                return
            if number == self._next_number and not await self._wait():
                yield self._rendering.quiet()

    async def _replay(self, cursor: int, until: int) -> AsyncIterator[Block]:
        while cursor < until:
            block = self._pages.get(cursor)
            if block is None or block.until > until:
                async with self._replaying:
                    block = await self._page(cursor, until)
            if block is None:
                return
            cursor = block.until
            yield block

    async def _page(self, cursor: int, until: int) -> Block | None:
        """The epochs after `cursor`. A whole page is kept for a while: whoever comes late asks for the same ones."""
        found = self._pages.get(cursor)
        if found is not None and found.until <= until:
            return found
        rewinds = self._rewinds
        made = await run_in_threadpool(self._read, cursor, until)
        if made is not None and made.until - cursor == PAGE_EPOCHS and rewinds == self._rewinds:
            self._pages[cursor] = made
            if len(self._pages) > KEPT_PAGES:
                self._pages.popitem(last=False)
        return made

    def _read(self, cursor: int, until: int) -> Block | None:
        rows = history.read(self._database, self._job_id, cursor, PAGE_EPOCHS)
        rows = [row for row in rows if row.epoch <= until]
        return Block(0, cursor, rows[-1].epoch, self._rendering.epochs(rows)) if rows else None

    async def _catch_up(self) -> None:
        before = self._job
        job, rows = await run_in_threadpool(self._look)
        while rows:
            self._append(rows[-1].epoch, self._rendering.epochs(rows))
            rows = await run_in_threadpool(history.read, self._database, self._job_id, self._epoch, PAGE_EPOCHS)
        if before is None or (job.status, job.attempt) != (before.status, before.attempt):
            self._append(self._epoch, self._rendering.status(job))
        self._job = job

    def _look(self) -> tuple[JobRow, list[EpochRow]]:
        job = self._queue.get(self._job_id)
        # An attempt that goes on from a checkpoint, or begins anew, takes the history back.
        if job.epoch < self._epoch:
            self._epoch = job.epoch
            self._rewinds += 1
            self._pages = OrderedDict()
        return job, history.read(self._database, self._job_id, self._epoch, PAGE_EPOCHS)

    def _append(self, until: int, data: bytes) -> None:
        self._blocks.append(Block(self._next_number, self._epoch, until, data))
        self._next_number += 1
        self._epoch = until
        self._bytes += len(data)
        while self._bytes > WINDOW_BYTES and len(self._blocks) > 1:
            self._bytes -= len(self._blocks.popleft().data)

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _wait(self) -> bool:
        """Wait for news; says whether there are any."""
        try:
            await asyncio.wait_for(self._moved.wait(), QUIET_SECONDS)
        except TimeoutError:
            return False
        return True


class Feeds:
    """The feeds of the jobs that someone watches."""

    def __init__(self, database: Database, queue: Queue, watch: Watch) -> None:
        self._database = database
        self._queue = queue
        self._watch = watch
        self._replaying = asyncio.Semaphore(REPLAYS_AT_ONCE)
        self._feeds: dict[str, tuple[Feed, asyncio.Task[None]]] = {}

    @property
    def watchers(self) -> int:
        """How many streams are open."""
        return sum(feed.watchers for feed, _ in self._feeds.values())

    async def watch(self, job_id: str, after_epoch: int, rendering: Rendering) -> AsyncIterator[bytes]:
        """One watcher's stream; the first one starts the feed, the last one stops it."""
        if job_id not in self._feeds or self._feeds[job_id][1].done():
            made = Feed(job_id, rendering, self._database, self._queue, self._watch, self._replaying)
            self._feeds[job_id] = made, asyncio.create_task(made.run())
        feed, task = self._feeds[job_id]
        feed.watchers += 1
        try:
            async for data in feed.watch(after_epoch):
                for start in range(0, len(data), PIECE_BYTES):
                    yield data[start : start + PIECE_BYTES]
        finally:
            feed.watchers -= 1
            if not feed.watchers:
                task.cancel()
                if self._feeds.get(job_id, (None,))[0] is feed:
                    del self._feeds[job_id]
