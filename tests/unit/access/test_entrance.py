"""Who needs a key, and when a server opens without one."""

from pathlib import Path
from typing import Any

import pytest

from app.access import keys
from app.access.entrance import NoKey, is_loopback, needs_key, open_for, why_not_local
from app.access.keyring import Keyring
from app.access.scope import Scope
from app.database import Database
from app.settings import Settings

LOCAL = {"host": "127.0.0.1:8000", "accept": "*/*"}


def request(client: str | None = "127.0.0.1", **headers: str) -> dict[str, Any]:
    found = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"client": (client, 50_000) if client is not None else None, "headers": found}


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.8.9.10", "::1", "localhost", "LOCALHOST", "localhost.", "api.localhost", "::ffff:127.0.0.1"],
)
def test_addresses_and_names_of_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "10.0.0.1", "", "example.com", "localhost.example.com", "127.0.0.1.nip.io", "127.1", "2130706433",
     "::ffff:10.0.0.1", "notlocalhost", "0x7f.0.0.1"],
)  # fmt: skip
def test_whatever_else_is_taken_for_elsewhere(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "headers",
    [
        LOCAL,
        {"host": "localhost:8000"},
        {"host": "[::1]:8000"},
        {"host": "127.0.0.1"},
        {},
        {**LOCAL, "origin": "http://127.0.0.1:8000"},
        {**LOCAL, "origin": "http://localhost:3000"},
    ],
)
def test_a_request_of_this_machine_is_local(headers: dict[str, str]) -> None:
    assert why_not_local(request(**headers)) is None
    assert why_not_local(request(client="::1", **headers)) is None


@pytest.mark.parametrize(
    ("client", "headers", "why"),
    [
        ("10.0.0.1", LOCAL, "this machine"),
        (None, LOCAL, "this machine"),
        ("127.0.0.1", {"host": "evil.example:8000"}, "another name"),
        ("127.0.0.1", {"host": "localhost@evil.example"}, "another name"),
        ("127.0.0.1", {"host": ""}, "another name"),
        ("127.0.0.1", {**LOCAL, "origin": "https://evil.example"}, "another origin"),
        ("127.0.0.1", {**LOCAL, "origin": "null"}, "another origin"),
        ("127.0.0.1", {**LOCAL, "origin": "http://[::1"}, "another origin"),
        ("127.0.0.1", {**LOCAL, "origin": "http://localhost.evil.example"}, "another origin"),
        ("127.0.0.1", {**LOCAL, "x_forwarded_for": "127.0.0.1"}, "proxy"),
        ("127.0.0.1", {**LOCAL, "forwarded": "for=10.0.0.1"}, "proxy"),
        ("127.0.0.1", {**LOCAL, "x_real_ip": "10.0.0.1"}, "proxy"),
        ("127.0.0.1", {**LOCAL, "via": "1.1 proxy"}, "proxy"),
    ],
)
def test_a_request_that_may_come_from_elsewhere_is_not(client: str | None, headers: dict[str, str], why: str) -> None:
    assert why in str(why_not_local(request(client, **headers)))


@pytest.mark.parametrize(
    ("auth", "host", "needed"),
    [
        ("auto", "127.0.0.1", False),
        ("auto", "localhost", False),
        ("auto", "0.0.0.0", True),
        ("auto", "myhost", True),
        ("required", "127.0.0.1", True),
        ("off", "0.0.0.0", False),
    ],
)
def test_who_needs_a_key_follows_from_where_the_server_listens(auth: str, host: str, needed: bool) -> None:
    assert needs_key(Settings(auth=auth, host=host)) is needed


def test_a_server_for_others_does_not_open_without_a_key_that_counts(tmp_path: Path) -> None:
    settings = Settings(host="0.0.0.0", data_dir=tmp_path / "data")
    database = Database(settings.resolved_database_url)

    with pytest.raises(NoKey, match="onelayer keys create"):
        open_for(settings)
    token = keys.create(database, Scope.READ)
    assert open_for(settings) is None
    keys.revoke(database, token.key_id)
    with pytest.raises(NoKey):
        open_for(settings)
    database.dispose()


@pytest.mark.parametrize(
    ("auth", "host", "said", "unsaid"),
    [
        (
            "auto",
            "0.0.0.0",
            ["Listening on 0.0.0.0 needs a key", "listen on 127.0.0.1", "--no-auth"],
            ["ONELAYER_AUTH"],
        ),
        ("required", "127.0.0.1", ["ONELAYER_AUTH=required", "--no-auth"], ["127.0.0.1"]),
    ],
)
def test_a_refusal_to_open_says_what_asks_for_a_key_and_what_helps(
    tmp_path: Path, auth: str, host: str, said: list[str], unsaid: list[str]
) -> None:
    with pytest.raises(NoKey) as refused:
        open_for(Settings(auth=auth, host=host, data_dir=tmp_path / "data"))

    assert [words for words in said if words not in str(refused.value)] == []
    assert [words for words in unsaid if words in str(refused.value)] == []


def test_a_server_for_this_machine_alone_opens_and_touches_nothing(tmp_path: Path) -> None:
    assert open_for(Settings(data_dir=tmp_path / "data")) is None
    assert open_for(Settings(data_dir=tmp_path / "data", host="0.0.0.0", auth="off")) is None
    assert not (tmp_path / "data").exists()


def test_the_first_start_makes_one_admin_key_and_later_ones_none(tmp_path: Path) -> None:
    settings = Settings(host="0.0.0.0", data_dir=tmp_path / "data", first_key=True)
    database = Database(settings.resolved_database_url)

    first = open_for(settings)
    assert first is not None
    viewer = Keyring(database, lambda: None).check(first)
    assert viewer is not None
    assert viewer.sees_all
    assert open_for(settings) is None
    keys.revoke(database, viewer.key_id)
    with pytest.raises(NoKey):
        open_for(settings)
    assert len(keys.listed(database)) == 1
    database.dispose()
