"""The guard: no call without a declared scope, no handler before the question."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from app import problems
from app.access.scope import Scope
from app.access.viewer import NOBODY, SERVICE, Viewer, viewer
from app.edge.authentication import Authentication
from app.errors import DatabaseBusy, Unauthorized
from app.main import create_app
from app.problems import ProblemDocuments
from app.routers import guard
from app.routers.guard import NEEDED, GuardedRoute
from app.settings import Settings
from tests.unit.asgi import call, problem


def test_every_call_of_the_service_is_on_the_page_and_nothing_else_is(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    app.api.state.services.close()
    routes = list(iter_route_contexts(app.api.routes))
    served = {
        f"{method} {route.path}"
        for route in routes
        if isinstance(route.original_route, APIRoute)
        for method in route.methods or ()
    }
    others = {route.path for route in routes if not isinstance(route.original_route, APIRoute)}

    assert served == NEEDED.keys()
    assert others == {"/openapi.json"}


def test_a_route_that_declares_no_scope_cannot_be_made() -> None:
    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(KeyError, match="GET /unheard-of"):
        router.add_api_route("/unheard-of", lambda: None)


def test_an_application_with_a_route_that_asks_nobody_does_not_start() -> None:
    api, router = FastAPI(), APIRouter()
    router.add_api_route("/metrics", lambda: None)
    api.include_router(router)
    with pytest.raises(TypeError, match="/metrics"):
        guard.check(api.routes)


def application(found: Any) -> ProblemDocuments:
    api, router = FastAPI(docs_url=None), APIRouter(route_class=GuardedRoute)
    router.add_api_route("/jobs", lambda: "made", methods=["POST"])
    api.include_router(router)
    problems.install(api)

    async def identified(scope: Any, receive: Any, send: Any) -> None:
        if found is not None:
            scope["viewer"] = found
        await api(scope, receive, send)

    made = ProblemDocuments(api)
    made.api = identified  # type: ignore[assignment]
    return made


def test_a_call_is_made_with_its_scope_or_a_greater_one() -> None:
    for scope in Scope:
        reply = call(application(Viewer(scope, "ann", "ann")), "POST", "/jobs")
        assert reply.status_code == (200 if scope in (Scope.WRITE, Scope.ADMIN) else 403)


def test_who_is_refused_is_told_why() -> None:
    reply = call(application(Viewer(Scope.READ, "ann", "ann")), "POST", "/jobs")
    detail = problem(reply, 403, "scope-missing")["detail"]
    assert detail == "This call needs a key of the scope 'write', and this one has 'read'; use another key."
    assert 'error="insufficient_scope", scope="write"' in reply.headers["www-authenticate"]
    problem(call(application(Unauthorized("why")), "POST", "/jobs"), 401, "unauthorized")
    problem(call(application(NOBODY), "POST", "/jobs"), 403, "scope-missing")


def test_where_the_layer_that_checks_keys_is_missing_nobody_comes_in() -> None:
    assert call(application(None), "POST", "/jobs").status_code == 500


class Ring:
    """A keyring with one key, `good`."""

    def is_fresh(self) -> bool:
        return True

    def recall(self, text: str) -> Viewer | None:
        return Viewer(Scope.READ, "ann", "ann") if text == "good" else None


def identified(
    settings: Settings, *headers: tuple[bytes, bytes], client: str = "127.0.0.1", ring: Ring | None = None
) -> tuple[Any, Viewer]:
    """What the layer says of a request, and for whom the handlers work."""
    seen: list[tuple[Any, Viewer]] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["viewer"], viewer()))

    layer = Authentication(handler, ring or Ring(), settings)  # type: ignore[arg-type]
    scope = {"type": "http", "path": "/jobs", "client": (client, 1), "headers": [(b"host", b"localhost"), *headers]}
    asyncio.run(layer(scope, None, None))  # type: ignore[arg-type]
    assert viewer() is SERVICE
    return seen[0]


def test_on_loopback_one_needs_no_key_but_a_key_counts() -> None:
    settings = Settings(auth="auto", host="127.0.0.1")

    assert identified(settings) == (SERVICE, SERVICE)
    found, working = identified(settings, (b"authorization", b"bEaReR  good "))
    assert found == working == Viewer(Scope.READ, "ann", "ann")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer bad")],
        [(b"authorization", b"Basic good")],
        [(b"authorization", b"good")],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer good"), (b"authorization", b"Bearer good")],
        [(b"x-forwarded-for", b"127.0.0.1")],
        [(b"origin", b"https://evil.example")],
        [(b"host", b"evil.example")],
    ],
)
def test_whoever_is_not_let_in_is_nobody(headers: list[tuple[bytes, bytes]]) -> None:
    found, working = identified(Settings(auth="auto", host="127.0.0.1"), *headers)
    assert isinstance(found, Unauthorized)
    assert working is NOBODY


def test_elsewhere_than_on_loopback_everyone_needs_a_key() -> None:
    for settings in Settings(auth="auto", host="0.0.0.0"), Settings(auth="required", host="127.0.0.1"):
        assert identified(settings)[1] is NOBODY
        assert identified(settings, (b"authorization", b"Bearer good"))[1].owner == "ann"
    assert identified(Settings(auth="auto", host="127.0.0.1"), client="10.0.0.1")[1] is NOBODY


def test_where_nobody_is_asked_no_key_is_looked_at() -> None:
    settings = Settings(auth="off", host="0.0.0.0")
    for headers in [], [(b"authorization", b"Basic x")], [(b"authorization", b"Bearer good")]:
        assert identified(settings, *headers, client="10.0.0.1") == (SERVICE, SERVICE)


class LostRing(Ring):
    """A keyring whose database is away, with the keys that it read before."""

    def is_fresh(self) -> bool:
        return False

    def refresh(self) -> None:
        raise OperationalError("", {}, Exception("the connection was lost"))


def test_while_the_database_is_away_the_keys_last_read_count_on_and_others_are_to_come_again() -> None:
    settings = Settings(auth="required")

    with capture_logs():
        known, unknown = (
            identified(settings, (b"authorization", b"Bearer " + key), ring=LostRing())[0] for key in (b"good", b"new")
        )

    assert known == Viewer(Scope.READ, "ann", "ann")
    assert isinstance(unknown, DatabaseBusy)


class SlowRing(Ring):
    """A keyring on a database that does not tell of its commits: every request has to see the keys as they are."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.readings = 0
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self._fault = fault

    def is_fresh(self) -> bool:
        return False

    def refresh(self) -> None:
        self.readings += 1
        self.begun.release()
        assert self.may_end.acquire(timeout=60)
        if self._fault is not None:
            raise self._fault


class Crowd:
    """Requests to one layer; no reading ends before it may."""

    def __init__(self, ring: SlowRing) -> None:
        self._ring = ring
        self._layer = Authentication(self._handle, ring, Settings(auth="required"))  # type: ignore[arg-type]

    async def come(self, *keys: bytes) -> list[asyncio.Task[Any]]:
        """Requests with these keys, each of which will say who the layer says it is."""
        tasks = [asyncio.create_task(self._ask(key)) for key in keys]
        await asyncio.sleep(0)  # all of them come
        return tasks

    async def reading(self) -> None:
        """Until the next reading has begun."""
        assert await asyncio.to_thread(self._ring.begun.acquire, timeout=60)

    async def _ask(self, key: bytes) -> Any:
        before = self._ring.readings
        scope: Any = {"type": "http", "path": "/jobs", "headers": [(b"authorization", b"Bearer " + key)]}
        await self._layer(scope, None, None)  # type: ignore[arg-type]
        assert self._ring.readings > before  # one began after this request came
        return scope["viewer"]

    async def _handle(self, scope: Any, receive: Any, send: Any) -> None:
        pass


@pytest.mark.parametrize("fault", [None, OperationalError("", {}, Exception("no answer within 8 seconds"))])
def test_of_all_requests_that_wait_for_the_keys_one_reads_them_and_none_gets_older_ones(
    fault: Exception | None,
) -> None:
    ring = SlowRing(fault)

    async def many() -> list[Any]:
        crowd = Crowd(ring)
        first = await crowd.come(b"good")
        await crowd.reading()
        others = await crowd.come(*[b"good", b"new"] * 20)
        ring.may_end.release(100)
        return await asyncio.gather(*first, *others)

    with capture_logs():
        _, *said = asyncio.run(many())

    known, unknown = said[::2], said[1::2]
    assert {found.owner for found in known} == {"ann"}
    assert {type(found) for found in unknown} == {Unauthorized if fault is None else DatabaseBusy}
    assert ring.readings == 2


def test_a_reading_whose_request_is_cancelled_counts_for_no_other() -> None:
    ring = SlowRing()

    async def many() -> None:
        crowd = Crowd(ring)
        (first,) = await crowd.come(b"good")
        await crowd.reading()
        doomed, other = await crowd.come(b"good", b"good")
        ring.may_end.release()
        await crowd.reading()
        doomed.cancel()
        ring.may_end.release(2)
        await asyncio.gather(first, other)

    asyncio.run(many())
    assert ring.readings == 3
