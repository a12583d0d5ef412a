"""The keyring: which keys count, seen at once by every process, and the same work whatever is wrong."""

import hmac
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, update

from app.access import keyring as module
from app.access import keys
from app.access.keyring import Keyring
from app.access.keys import KeyRefused
from app.access.scope import Scope
from app.access.token import Token
from app.access.viewer import SERVICE, Viewer
from app.database import Database
from app.models.revision import Revision
from app.tables import DatasetRow, KeyRow, ModelNameRow


@pytest.fixture
def ring(database: Database) -> Keyring:
    return Keyring(database, Revision(database).now)


def put(database: Database, token: Token, **values: Any) -> None:
    with database.write() as session:
        session.execute(update(KeyRow).where(KeyRow.id == token.key_id).values(**values))


def test_a_key_stands_for_its_scope_and_owner(database: Database, ring: Keyring) -> None:
    token = keys.create(database, Scope.WRITE, "ann")

    assert ring.check(str(token)) == Viewer(Scope.WRITE, token.key_id, token.key_id)


def test_another_key_of_an_owner_stands_for_the_same_owner(database: Database, ring: Keyring) -> None:
    first = keys.create(database, Scope.WRITE)
    second = keys.create(database, Scope.PREDICT, owner=first.key_id)
    third = keys.create(database, Scope.READ, owner=second.key_id)

    owners = {viewer.owner for token in (first, second, third) if (viewer := ring.check(str(token)))}
    assert owners == {first.key_id}
    with pytest.raises(KeyRefused, match="nobody"):
        keys.create(database, Scope.READ, owner="nobody")


@pytest.mark.parametrize("told", [True, False], ids=["SQLite", "a database that does not tell of its commits"])
def test_a_key_that_is_revoked_anywhere_is_refused_everywhere_at_once(database: Database, told: bool) -> None:
    rings = [Keyring(database, Revision(database).now if told else lambda: None) for _ in range(2)]
    other = Database(str(database.engine.url))
    token = keys.create(other, Scope.READ)

    assert all(ring.check(str(token)) for ring in rings)
    viewer = rings[0].check(str(token))
    assert viewer is not None
    keys.revoke(other, token.key_id)
    assert [ring.check(str(token)) for ring in rings] == [None, None]
    assert not rings[0].still_counts(viewer)
    assert rings[0].still_counts(SERVICE)
    other.dispose()


def test_while_nothing_is_committed_a_check_reads_nothing(database: Database, ring: Keyring) -> None:
    tokens = [str(keys.create(database, Scope.READ)) for _ in range(3)]
    ring.check(tokens[0])
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))

    assert ring.is_fresh()
    assert all(ring.check(token) for token in tokens)
    assert ring.check(str(Token.new())) is None
    assert statements == []


def test_keys_end_when_their_time_is_over(database: Database, ring: Keyring) -> None:
    token = keys.create(database, Scope.READ, days=1)
    assert ring.check(str(token)) is not None
    assert keys.some_key_counts(database)

    put(database, token, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert ring.check(str(token)) is None
    assert not keys.some_key_counts(database)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """The digests that were compared."""
    found: list[tuple[bytes, bytes]] = []
    compare: Callable[[bytes, bytes], bool] = hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        found.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(module.hmac, "compare_digest", noted)
    return found


def test_an_unknown_key_takes_the_same_work_as_a_wrong_one(
    database: Database, ring: Keyring, compared: list[tuple[bytes, bytes]]
) -> None:
    good, revoked = keys.create(database, Scope.READ), keys.create(database, Scope.READ)
    keys.revoke(database, revoked.key_id)
    wrong, unknown = Token(good.key_id, Token.new().secret), Token.new()
    ring.check(str(good))
    compared.clear()

    assert [ring.check(str(token)) for token in (wrong, unknown, revoked)] == [None, None, None]

    assert [digest for digest, _ in compared] == [wrong.digest, unknown.digest, revoked.digest]
    assert {len(part) for pair in compared for part in pair} == {32}
    (stood_in,) = {other for _, other in compared}
    assert stood_in not in (good.digest, revoked.digest)


def test_a_secret_counts_with_its_own_id_alone(database: Database, ring: Keyring) -> None:
    one, other = keys.create(database, Scope.READ), keys.create(database, Scope.ADMIN)

    assert ring.check(str(Token(one.key_id, other.secret))) is None
    assert ring.check(str(Token(other.key_id, one.secret))) is None


def last_uses(database: Database) -> dict[str, datetime | None]:
    return {row.id: row.last_used_at for row in keys.listed(database)}


def test_the_last_use_is_written_down_once_a_minute_and_at_the_end(
    database: Database, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, idle = keys.create(database, Scope.READ), keys.create(database, Scope.READ)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    clock, noted = [start.timestamp()], []
    monkeypatch.setattr(module.time, "time", lambda: clock[0])
    for seconds in 0, 59, 2, 30, 0:
        clock[0] += seconds
        ring.check(str(token))
        ring.check(str(Token(idle.key_id, Token.new().secret)))
        ring.note_uses()
        noted.append(last_uses(database)[token.key_id])
    assert noted == [start + timedelta(seconds=after) for after in (0, 0, 61, 61, 61)]
    ring.note_uses(at_the_end=True)
    assert last_uses(database) == {token.key_id: start + timedelta(seconds=91), idle.key_id: None}


def test_the_last_use_never_goes_back(database: Database, ring: Keyring) -> None:
    token = keys.create(database, Scope.READ)
    later = datetime.now(UTC) + timedelta(hours=1)
    put(database, token, last_used_at=later)
    ring.check(str(token))
    ring.note_uses()
    assert last_uses(database)[token.key_id] == later


def test_many_threads_check_while_keys_come_and_go(database: Database, ring: Keyring) -> None:
    good = str(keys.create(database, Scope.READ))

    def come_and_go(number: int) -> bool:
        token = keys.create(database, Scope.READ)
        before = ring.check(str(token)) is not None
        keys.revoke(database, token.key_id)
        return before and ring.check(str(token)) is None and ring.check(good) is not None

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(come_and_go, range(40)))


def test_names_of_keys_can_be_printed(database: Database) -> None:
    for name in "", "x" * 101, "a\nb", "\x1b[31mred", "a\x00":
        with pytest.raises(KeyRefused, match="printable"):
            keys.create(database, Scope.READ, name)
    assert keys.listed(database) == []


def test_the_first_key_is_made_once(database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = [token for token in pool.map(lambda _: keys.create_first(database), range(4)) if token]

    assert len(made) == 1
    assert [row.scope for row in keys.listed(database)] == ["admin"]


def test_what_has_no_owner_is_adopted_and_the_rest_stays(database: Database) -> None:
    ann, bob = keys.create(database, Scope.WRITE), keys.create(database, Scope.WRITE)
    about = {"rows": 1, "bytes": 1, "sha256": "", "columns": [], "splits": {}, "created_at": datetime.now(UTC)}
    with database.write() as session:
        session.add(DatasetRow(id="free", **about))
        session.add(DatasetRow(id="bobs", owner=bob.key_id, **about))
        session.add(ModelNameRow(name="fashion", newest_version=1))

    assert keys.adopt(database, ann.key_id) == {"datasets": 1, "jobs": 0, "models": 0, "model names": 1}
    with database.read() as session:
        owners = {row.id: row.owner for row in session.query(DatasetRow)}
    assert owners == {"free": ann.key_id, "bobs": bob.key_id}
