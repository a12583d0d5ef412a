"""What the layer of idempotency keys does where a request ends without a reply."""

import asyncio
import json
import threading
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from app.edge.idempotency import IdempotencyKeys
from app.idempotency import Fingerprint, Held, Keys, Known, created

SCOPE = {
    "type": "http", "method": "POST", "path": "/jobs", "query_string": b"", "headers": [(b"idempotency-key", b"once")]
}  # fmt: skip


AWAY = OperationalError("", {}, Exception("the connection was lost"))


class Noted(Keys):
    """Keys that note where they were released, and whose database is away for what is named."""

    released_in: int | None = None
    away: frozenset[str] = frozenset()

    def take(self, key: str, fingerprint: Fingerprint) -> Held | Known | None:
        self._meet("take")
        return super().take(key, fingerprint)

    def answer(self, held: Held, *reply: Any) -> None:
        self._meet("answer")
        super().answer(held, *reply)

    def release(self, held: Held) -> None:
        self._meet("release")
        super().release(held)
        self.released_in = threading.get_ident()

    def _meet(self, what: str) -> None:
        if what in self.away:
            raise AWAY


@pytest.fixture
def keys(database: Any) -> Noted:
    made = Noted(database, lambda session, process: True, keep_hours=1)
    made.process_id = "one"
    return made


def replying(status: int, made: str | None = None, *, database: Any = None) -> Any:
    """An application that makes something and replies."""

    async def reply(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if made:
            with database.write() as session:
                created(session, made)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"whole"})

    return reply


def sent(app: Any, keys: Keys) -> list[tuple[Any, ...]]:
    """Status and body of the reply to a request with the key."""
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    asyncio.run(IdempotencyKeys(app, keys)(SCOPE, receive, send))
    body = b"".join(message.get("body", b"") for message in messages)
    return [(messages[0]["status"], body), *messages[0]["headers"]]


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


def test_a_request_whose_key_cannot_be_looked_up_is_told_to_come_again(keys: Noted):
    keys.away = frozenset({"take"})

    with capture_logs():
        (status, body), *headers = sent(replying(200), keys)

    assert (status, json.loads(body)["type"]) == (503, "urn:onelayer:problem:database-busy")
    assert b"retry-after" in dict(headers)


def test_a_refusal_is_whole_though_its_key_cannot_be_released_and_the_next_try_is_the_first(keys: Noted):
    keys.away = frozenset({"release"})
    with capture_logs():
        assert sent(replying(422), keys) == [(422, b"whole")]

    keys.away = frozenset()
    assert sent(replying(200), keys) == [(200, b"whole")]


def test_what_was_made_is_shown_though_its_reply_could_not_be_kept(keys: Noted, database: Any):
    keys.away = frozenset({"answer"})
    with capture_logs():
        assert sent(replying(201, "/datasets/x", database=database), keys) == [(201, b"whole")]

    async def show(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{scope['method']} {scope['path']}".encode()})

    keys.away = frozenset()
    assert sent(show, keys)[0] == (201, b"GET /datasets/x")
