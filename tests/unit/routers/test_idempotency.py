"""What the layer of idempotency keys does where a request ends without a reply."""

import asyncio
import threading
from typing import Any

import pytest

from app.idempotency import Held, Keys
from app.routers.idempotency import IdempotencyKeys

SCOPE = {
    "type": "http", "method": "POST", "path": "/jobs", "query_string": b"", "headers": [(b"idempotency-key", b"once")]
}  # fmt: skip


class Noted(Keys):
    """Keys that note where they were released."""

    released_in: int | None = None

    def release(self, held: Held) -> None:
        super().release(held)
        self.released_in = threading.get_ident()


@pytest.fixture
def keys(database: Any) -> Noted:
    return Noted(database, lambda session, process: True, keep_hours=1)


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Any) -> None:
    raise AssertionError("there is no reply")


def test_a_key_is_released_beside_the_event_loop_when_the_request_fails(keys: Noted):
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        asyncio.run(IdempotencyKeys(fail, keys)(SCOPE, receive, send))

    assert keys.released_in not in (None, threading.get_ident())


def test_a_key_is_released_when_the_request_is_cancelled(keys: Noted):
    begun = asyncio.Event()

    async def hang(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.sleep(3600)

    async def cancelled() -> None:
        task = asyncio.create_task(IdempotencyKeys(hang, keys)(SCOPE, receive, send))
        await begun.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())

    assert keys.released_in not in (None, threading.get_ident())
