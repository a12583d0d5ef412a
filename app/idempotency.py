"""Idempotency keys: a POST that is sent again has no second effect, even if the server died in between.

A key is held by one request at a time. What the request makes is noted with the key in the transaction that makes it
(`created`), so that after a crash a repetition knows whether there is anything left to do.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.viewer import viewer
from app.database import Database, DatabaseTime
from app.errors import RequestInProgress
from app.identifiers import new_id
from app.tables import IdempotencyRow

Headers = list[list[str]]

_BOUNDARY = re.compile(rb";\s*boundary=(\"[^\"]*\"|[^;]*)", re.IGNORECASE)


class Fingerprint:
    """What makes two requests the same: path, query, media type and body, but not the boundary of a form.

    What they accept is a part of it where the reply depends on that.
    """

    def __init__(self, path: bytes, query: bytes, media_type: bytes, accept: bytes = b"") -> None:
        found = _BOUNDARY.search(media_type)
        self._boundary = found[1].strip(b'" ') if found else b""
        self._kept = b""
        self._accept = b"".join(accept.lower().split())
        self._digest = hashlib.sha256()
        for part in (path, query, _meaning(_BOUNDARY.sub(b"", media_type))):
            self._digest.update(len(part).to_bytes(8, "big") + part)

    def update(self, chunk: bytes) -> None:
        """Take in the next piece of the body."""
        if not self._boundary:
            self._digest.update(chunk)
            return
        data = (self._kept + chunk).replace(self._boundary, b"")
        # The end may be the beginning of a boundary.
        tail = min(len(data), len(self._boundary) - 1)
        self._digest.update(data[: len(data) - tail])
        self._kept = data[len(data) - tail :]

    def hex(self, is_negotiated: bool = False) -> str:
        """The fingerprint of what has been taken in so far."""
        whole = self._digest.copy()
        whole.update(self._kept)
        if is_negotiated:
            whole.update(b"\0accept:" + self._accept)
        return whole.hexdigest()


def _meaning(media_type: bytes) -> bytes:
    """A media type as it is compared. JSON has one encoding and no parameters, whatever clients add."""
    kind, *parameters = (part.strip() for part in media_type.lower().split(b";"))
    if kind == b"application/json" or kind.endswith(b"+json"):
        return kind
    return b";".join([kind, *sorted(filter(None, parameters))])


@dataclass(frozen=True)
class Held:
    """A key in the hands of the request that works on it."""

    sender: str
    key: str
    holder: str
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Known:
    """What became of a key: its reply, or, if the server died before there was one, what the request had made."""

    fingerprint: str | None
    location: str | None
    status: int | None
    headers: Headers
    body: bytes

    @property
    def is_negotiated(self) -> bool:
        """Whether the reply depends on what the request accepts."""
        return _is_negotiated(self.headers)


_held: ContextVar[Held | None] = ContextVar("held", default=None)


@contextmanager
def work_under(held: Held) -> Iterator[None]:
    """What this request makes is noted with its key."""
    before = _held.set(held)
    try:
        yield
    finally:
        _held.reset(before)


def created(session: Session, location: str) -> None:
    """Note what the current request makes, if it carries a key, in the transaction that makes it."""
    held = _held.get()
    if held is not None and not _note(session, held, location=location, fingerprint=held.fingerprint.hex()):
        raise RequestInProgress(1)


class Keys:
    """The keys that were sent, and what became of each."""

    def __init__(self, database: Database, is_alive: Callable[[Session, str], bool], keep_hours: float) -> None:
        self._database = database
        self._is_alive = is_alive
        self._keep_seconds = keep_hours * 3600
        self._at_work: set[str] = set()
        self.process_id = ""

    def take(self, key: str, fingerprint: Fingerprint) -> Held | Known | None:
        """Hold a key that is free; or what became of it; or None while another request works on it.

        Each key of the API has its own: whoever sends another's idempotency key learns nothing by it.
        """
        held = Held(viewer().key_id, key, new_id(), fingerprint)
        try:
            return self._take(held)
        except IntegrityError:
            self.let_go(held)
            return None  # another request was first, at the same moment
        except BaseException:
            # Perhaps it is in the database all the same, its answer lost: nobody works on it, so the next may take it.
            self.let_go(held)
            raise

    def _take(self, held: Held) -> Held | Known | None:
        with self._database.write() as session:
            self._expire(session, IdempotencyRow.sender == held.sender, IdempotencyRow.key == held.key)
            # Locked: whoever works on it notes what it made, or frees the key, before this look or after this take.
            row = session.get(IdempotencyRow, (held.sender, held.key), with_for_update=True)
            if row is None:
                row = IdempotencyRow(sender=held.sender, key=held.key, created_at=DatabaseTime())
                session.add(row)
            elif row.status is not None:
                return _known(row)
            elif self._is_held(session, row):
                return None
            elif row.location is not None:
                return _known(row)
            row.holder, row.process_id = held.holder, self.process_id
            self._at_work.add(held.holder)
            return held

    def _is_held(self, session: Session, row: IdempotencyRow) -> bool:
        """Whether somebody works on it. Of this process's own, those that it could not release count no more."""
        if row.process_id == self.process_id:
            return row.holder in self._at_work
        return self._is_alive(session, row.process_id)

    def answer(self, held: Held, status: int, headers: Headers, body: bytes) -> None:
        """Keep the reply for whoever sends the same again."""
        with self._database.write() as session:
            reply: dict[str, Any] = {"status": status, "headers": headers, "body": body}
            _note(session, held, fingerprint=held.fingerprint.hex(_is_negotiated(headers)), **reply)

    def release(self, held: Held) -> None:
        """Free the key: the request was refused and made nothing, so that it may be corrected and sent again."""
        with self._database.write() as session:
            session.execute(delete(IdempotencyRow).where(*_rows(held), IdempotencyRow.location.is_(None)))

    def let_go(self, held: Held) -> None:
        """Work on it no longer, whatever could be written of it."""
        self._at_work.discard(held.holder)

    def forget(self) -> None:
        """Remove the keys whose time is over."""
        with self._database.write() as session:
            self._expire(session)

    def _expire(self, session: Session, *which: Any) -> None:
        old = IdempotencyRow.created_at < DatabaseTime(-self._keep_seconds)
        session.execute(delete(IdempotencyRow).where(old, *which))


def _is_negotiated(headers: Headers) -> bool:
    varying = [value.lower().replace(" ", "").split(",") for name, value in headers if name.lower() == "vary"]
    return any("accept" in names for names in varying)


def _known(row: IdempotencyRow) -> Known:
    return Known(row.fingerprint, row.location, row.status, row.headers or [], row.body or b"")


def _note(session: Session, held: Held, **values: Any) -> bool:
    result: CursorResult[Any] = session.execute(update(IdempotencyRow).where(*_rows(held)).values(**values))  # type: ignore[assignment]
    return result.rowcount == 1


def _rows(held: Held) -> list[ColumnElement[bool]]:
    mine = {"sender": held.sender, "key": held.key, "holder": held.holder}
    return [getattr(IdempotencyRow, name) == value for name, value in mine.items()]
