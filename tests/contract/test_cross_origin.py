"""Pages of other origins: none may call the server unless the settings name them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from app.edge.cross_origin import EXPOSED
from app.edge.gate import Gate
from app.main import create_app
from app.settings import Settings
from tests.unit.asgi import call, problem

ASKED = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Gate]]:
    """Applications with some settings."""
    apps: list[Gate] = []

    def make(**settings: object) -> Gate:
        apps.append(create_app(Settings(data_dir=tmp_path, workers=0, **settings)))
        return apps[-1]

    yield make
    for app in apps:
        app.api.state.services.close()


def allowed(reply: httpx.Response) -> str | None:
    return reply.headers.get("access-control-allow-origin")


def test_by_default_no_other_origin_is_allowed(made: Callable[..., Gate]) -> None:
    app = made()

    preflight = call(app, "OPTIONS", "/jobs", headers=ASKED)
    reply = call(app, "GET", "/healthz", headers={"Origin": "https://a.example"})

    assert preflight.status_code == 405
    assert (allowed(preflight), allowed(reply)) == (None, None)


def test_an_origin_that_is_named_may_call_and_another_may_not(made: Callable[..., Gate]) -> None:
    app = made(cors_origins="https://a.example/, https://b.example")

    preflight = call(app, "OPTIONS", "/jobs", headers={**ASKED, "Access-Control-Request-Headers": "authorization"})
    stranger = call(app, "OPTIONS", "/jobs", headers={**ASKED, "Origin": "https://c.example"})

    assert preflight.status_code == 200
    assert allowed(preflight) == "https://a.example"
    assert "access-control-allow-credentials" not in preflight.headers
    assert stranger.status_code == 400
    assert allowed(stranger) is None


def test_a_refusal_too_can_be_read_by_the_page_that_asked(made: Callable[..., Gate]) -> None:
    app = made(cors_origins="https://b.example", auth="required")

    reply = call(app, "GET", "/jobs", headers={"Origin": "https://b.example"})

    assert reply.status_code == 401
    assert allowed(reply) == "https://b.example"
    assert "X-Request-ID" in reply.headers["access-control-expose-headers"]


@pytest.mark.parametrize("header", ["Content-Encoding", "Inference-Header-Content-Length", "Range", "Idempotency-Key"])
def test_a_page_may_send_what_calls_take(made: Callable[..., Gate], header: str) -> None:
    app = made(cors_origins="https://a.example")

    reply = call(app, "OPTIONS", "/predict", headers={**ASKED, "Access-Control-Request-Headers": header.lower()})

    assert reply.status_code == 200


def test_a_page_may_send_and_read_every_header_that_is_documented(made: Callable[..., Gate]) -> None:
    app = made(cors_origins="https://a.example")
    document = app.api.openapi()
    calls = [operation for item in document["paths"].values() for operation in item.values()]
    taken = {about["name"] for call in calls for about in call.get("parameters", ()) if about["in"] == "header"}

    asked = {**ASKED, "Access-Control-Request-Headers": ", ".join(sorted(taken))}

    assert call(app, "OPTIONS", "/jobs", headers=asked).status_code == 200
    assert set(EXPOSED) == set(document["components"]["headers"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"Origin": "https://c.example"}, "'https://c.example' is none of those that ONELAYER_CORS_ORIGINS names"),
        ({"Access-Control-Request-Method": "TRACE"}, "the method 'TRACE' is none of GET, POST, PUT"),
        ({"Access-Control-Request-Headers": "prefer, x-mine, x-other"}, "the header x-mine, x-other is none of"),
    ],
)
def test_a_preflight_that_is_refused_says_why(made: Callable[..., Gate], asked: dict[str, str], said: str) -> None:
    app = made(cors_origins="https://a.example")

    reply = call(app, "OPTIONS", "/jobs", headers={**ASKED, **asked})

    assert said in problem(reply, 400, "bad-request")["detail"]
    assert allowed(reply) == (None if "Origin" in asked else "https://a.example")
