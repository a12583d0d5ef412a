"""Lanes of uploads."""

import asyncio
import threading
import time

import pytest

from app.routers import lanes
from app.routers.lanes import SMALL_BYTES, Lanes


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "cores", lambda: 2)


def test_small_ones_come_one_after_the_other():
    at_once: list[int] = []
    running = 0

    def work() -> None:
        nonlocal running
        running += 1
        at_once.append(running)
        time.sleep(0.01)
        running -= 1

    async def all_of_them() -> None:
        both = Lanes()
        await asyncio.gather(*(both.run(SMALL_BYTES, work) for _ in range(5)))

    asyncio.run(all_of_them())

    assert at_once == [1] * 5


def test_nobody_small_waits_behind_a_large_one():
    done = threading.Event()

    async def both_of_them() -> tuple[bool, str]:
        both = Lanes()
        large = asyncio.create_task(both.run(SMALL_BYTES + 1, done.wait, 10))
        small = await both.run(1, lambda: "done")
        done.set()
        return await large, small

    assert asyncio.run(both_of_them()) == (True, "done")
