"""The rate limit."""

import pytest
from starlette.types import Receive, Scope, Send

from app.access import scope
from app.access.viewer import NOBODY, Viewer
from app.edge import rate
from app.edge.principal import principal
from app.edge.probes import PROBES
from app.edge.rate import RateLimit, TokenBuckets
from tests.unit.asgi import call, problem


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_holds_two_seconds_worth_and_is_refilled_at_the_rate():
    clock = Clock()
    buckets = TokenBuckets(5, clock)

    assert [buckets.take("a") for _ in range(10)] == [0.0] * 10
    assert buckets.take("a") == pytest.approx(0.2)
    clock.now += 0.2
    assert buckets.take("a") == 0.0
    assert buckets.take("a") > 0
    clock.now += 3600
    assert [buckets.take("a") for _ in range(11)].count(0.0) == 10


def test_each_key_has_a_bucket_of_its_own():
    buckets = TokenBuckets(0.5, Clock())

    assert buckets.take("a") == 0.0
    assert buckets.take("a") == pytest.approx(2.0)
    assert buckets.take("b") == 0.0


def test_keys_that_were_quiet_are_forgotten_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rate, "MOST_KEYS", 3)
    clock = Clock()
    buckets = TokenBuckets(1, clock)
    for key in "abc":
        buckets.take(key)
    clock.now += 10
    buckets.take("d")
    buckets.take("d")

    buckets.take("e")

    assert buckets.take("d") > 0
    assert len(buckets._buckets) == 2


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


def test_who_asks_too_often_is_told_when_to_come_again():
    limited = RateLimit(app, 1, principal)

    assert [call(limited, "GET", "/").status_code for _ in range(2)] == [204, 204]
    reply = call(limited, "GET", "/")
    problem(reply, 429, "too-many-requests")
    assert reply.headers["retry-after"] == "1"


def test_no_client_can_have_the_service_taken_for_dead():
    limited = RateLimit(app, 1, principal)

    for path in PROBES:
        assert [call(limited, "GET", path).status_code for _ in range(3)] == [204] * 3
    assert [call(limited, "GET", "/").status_code for _ in range(3)] == [204, 204, 429]


def test_a_request_counts_for_its_key_else_for_its_address():
    assert principal({"client": ("192.0.2.1", 9), "viewer": Viewer(scope.Scope.READ, "owner-1", "key-1")}) == "key-1"
    assert principal({"client": ("192.0.2.1", 9), "viewer": NOBODY}) == "192.0.2.1"
    assert principal({}) == ""
