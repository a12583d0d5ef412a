"""Watching a job without asking the database in a loop."""

import asyncio
from collections.abc import Awaitable, Callable

from app.jobs.bell import Bell
from app.jobs.watch import Watch

LONG, SHORT = 60.0, 0.05


Story = Callable[[Watch], Awaitable[float]]


def tell(bell: Bell, story: Story, poll_seconds: float = LONG) -> float:
    """Run a story on a watch that listens; returns the seconds that the story measured."""

    async def run() -> float:
        watch = Watch(bell, poll_seconds)
        watch.start()
        try:
            return await story(watch)
        finally:
            watch.close()
            assert not watch._waiting

    return asyncio.run(run())


async def wait(watch: Watch, job: str, seconds: float) -> float:
    """How long a wait for a job took."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    with watch.on(job) as moved:
        await watch.next(moved, seconds)
    return loop.time() - started


def test_a_ring_wakes_who_waits_for_that_job(bell: Bell, ringer: Bell):
    async def story(watch: Watch) -> float:
        asyncio.get_running_loop().call_later(SHORT, ringer.ring, [bell.port], "job")
        return await wait(watch, "job", LONG)

    assert SHORT * 0.9 <= tell(bell, story) < LONG / 2


def test_a_ring_wakes_everyone_who_waits_for_that_job(bell: Bell, ringer: Bell):
    async def story(watch: Watch) -> float:
        asyncio.get_running_loop().call_later(SHORT, ringer.ring, [bell.port], "job")
        return max(await asyncio.gather(*(wait(watch, "job", LONG) for _ in range(10))))

    assert tell(bell, story) < LONG / 2


def test_a_ring_for_another_job_wakes_nobody(bell: Bell, ringer: Bell):
    async def story(watch: Watch) -> float:
        ringer.ring([bell.port], "other")
        return await wait(watch, "job", SHORT)

    assert tell(bell, story) >= SHORT * 0.9


def test_a_ring_between_the_look_and_the_wait_is_not_lost(bell: Bell, ringer: Bell):
    async def story(watch: Watch) -> float:
        loop = asyncio.get_running_loop()
        with watch.on("job") as moved:
            ringer.ring([bell.port], "job")
            await asyncio.sleep(SHORT)  # a look at the database
            started = loop.time()
            await watch.next(moved, LONG)
            return loop.time() - started

    assert tell(bell, story) < LONG / 2


def test_a_ring_that_was_heard_is_not_heard_twice(bell: Bell, ringer: Bell):
    async def story(watch: Watch) -> float:
        loop = asyncio.get_running_loop()
        with watch.on("job") as moved:
            ringer.ring([bell.port], "job")
            await watch.next(moved, LONG)
            started = loop.time()
            await watch.next(moved, SHORT)
            return loop.time() - started

    assert tell(bell, story) >= SHORT * 0.9


def test_a_ring_that_is_lost_costs_a_polling_interval(bell: Bell):
    assert SHORT * 0.9 <= tell(bell, lambda watch: wait(watch, "job", LONG), poll_seconds=SHORT) < LONG / 2


def test_nobody_waits_longer_than_asked(bell: Bell):
    assert tell(bell, lambda watch: wait(watch, "job", SHORT)) < LONG / 2
    assert tell(bell, lambda watch: wait(watch, "job", -1.0)) < LONG / 2


def test_a_stop_wakes_everyone_and_nobody_waits_after_it(bell: Bell):
    async def story(watch: Watch) -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(SHORT, watch.stop)
        first = await asyncio.gather(*(wait(watch, job, LONG) for job in ("a", "b", "b")))
        assert watch.stopping
        return max(*first, await wait(watch, "c", LONG))

    assert tell(bell, story) < LONG / 2


def test_one_who_goes_leaves_the_others_waiting(bell: Bell, ringer: Bell):
    async def story(watch: Watch) -> float:
        patient = asyncio.create_task(wait(watch, "job", LONG))
        hasty = asyncio.create_task(wait(watch, "job", LONG))
        await asyncio.sleep(SHORT)
        hasty.cancel()
        await asyncio.gather(hasty, return_exceptions=True)
        ringer.ring([bell.port], "job")
        return await patient

    assert tell(bell, story) < LONG / 2


def test_a_deadline_counts_down(bell: Bell):
    async def story(watch: Watch) -> float:
        late, early = watch.deadline(LONG), watch.deadline(SHORT)
        before = late()
        await asyncio.sleep(2 * SHORT)
        assert LONG >= before > late() > 0 > early()
        return before - late()

    assert tell(bell, story) >= SHORT
