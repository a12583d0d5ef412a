"""The feed of a job, as one of its watchers sees it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from app.database import Database
from app.jobs import feed as module
from app.jobs.bell import Bell
from app.jobs.feed import Feeds
from app.jobs.queue import Queue
from app.jobs.watch import Watch
from app.tables import EpochRow, JobRow
from tests.unit.jobs.conftest import Submit


@dataclass
class Plain:
    """A rendering that says what it was given."""

    def epochs(self, rows: Sequence[EpochRow]) -> bytes:
        return b" ".join(b"%d" % row.epoch for row in rows)

    def status(self, job: JobRow) -> bytes:
        return job.status.encode()

    def gone(self, job_id: str) -> bytes:
        return b"gone"

    def quiet(self) -> bytes:
        return b"quiet"


def test_a_watcher_of_a_job_that_rests_gets_a_sign_of_life_now_and_then(
    database: Database, queue: Queue, bell: Bell, submit: Submit, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.3)
    job_id = submit().id

    async def heard() -> list[bytes]:
        watch = Watch(bell, 0.05)
        watch.start()
        stream = Feeds(database, queue, watch).watch(job_id, 0, Plain())
        found = [await asyncio.wait_for(anext(stream), 10) for _ in range(3)]
        queue.cancel(job_id)
        found.append(await anext(data async for data in stream if data != b"quiet"))
        watch.close()
        return found

    assert asyncio.run(heard()) == [b"queued", b"quiet", b"quiet", b"cancelled"]
