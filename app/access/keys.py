"""Keys as whoever runs the service handles them: made, listed, revoked, and given what has no owner."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session

from app.access.scope import Scope
from app.access.token import Token
from app.database import Database
from app.tables import DatasetRow, JobRow, KeyRow, ModelNameRow, ModelRow

NAME_LENGTH = 100

Owned = type[DatasetRow | JobRow | ModelRow | ModelNameRow]
_OWNED: dict[str, Owned] = {
    "datasets": DatasetRow,
    "jobs": JobRow,
    "models": ModelRow,
    "model names": ModelNameRow,
}


class KeyRefused(Exception):
    """What is asked for cannot be done with keys; the text says why and what to do."""


def create(
    database: Database, scope: Scope, name: str | None = None, owner: str | None = None, days: int | None = None
) -> Token:
    """A new key: an owner of its own, or another key of the owner that a key has. Its secret is told this once."""
    with database.write() as session:
        belongs_to = _find(session, owner).owner if owner is not None else None
        return _add(session, scope, name, belongs_to, days)


def create_first(database: Database) -> Token | None:
    """An admin key, if there has never been a key."""
    with database.write() as session:
        if session.scalar(select(exists().where(KeyRow.id.is_not(None)))):
            return None
        return _add(session, Scope.ADMIN, "first key", None, None)


def listed(database: Database) -> list[KeyRow]:
    """Every key there has been, oldest first."""
    with database.read() as session:
        return list(session.scalars(select(KeyRow).order_by(KeyRow.created_at, KeyRow.id)))


def revoke(database: Database, key_id: str) -> KeyRow:
    """Refuse a key from now on, in every process. What it has made stays with its owner."""
    with database.write() as session:
        row = _find(session, key_id)
        row.revoked_at = row.revoked_at or datetime.now(UTC)
        return row


def adopt(database: Database, key_id: str) -> dict[str, int]:
    """Give the owner of a key all that has none: what was made before there were keys. Returns how many of each."""
    with database.write() as session:
        owner = _find(session, key_id).owner
        return {name: _give(session, rows, owner) for name, rows in _OWNED.items()}


def some_key_counts(database: Database) -> bool:
    """Whether there is a key that would be accepted."""
    now = datetime.now(UTC)
    lives = KeyRow.revoked_at.is_(None) & or_(KeyRow.expires_at.is_(None), KeyRow.expires_at > now)
    with database.read() as session:
        return bool(session.scalar(select(exists().where(lives))))


def _add(session: Session, scope: Scope, name: str | None, owner: str | None, days: int | None) -> Token:
    if name is not None and (not name.isprintable() or not 0 < len(name) <= NAME_LENGTH):
        raise KeyRefused(f"A key's name has 1 to {NAME_LENGTH} printable characters.")
    token, now = Token.new(), datetime.now(UTC)
    session.add(
        KeyRow(
            id=token.key_id,
            owner=owner or token.key_id,
            name=name,
            scope=scope,
            digest=token.digest.hex(),
            created_at=now,
            expires_at=now + timedelta(days=days) if days is not None else None,
        )
    )
    return token


def _find(session: Session, key_id: str) -> KeyRow:
    row = session.get(KeyRow, key_id)
    if row is None:
        raise KeyRefused(f"There is no key {key_id!r}; `onelayer keys list` shows those there are.")
    return row


def _give(session: Session, rows: Owned, owner: str) -> int:
    given = update(rows).where(rows.owner.is_(None)).values(owner=owner).returning(rows.owner)
    return len(session.scalars(given).all())
