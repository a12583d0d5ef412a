"""The keyring: the keys that count, in the memory of each API process, for as long as the database stands still.

With the database's next commit, whoever made it, the keys are read anew before one is checked, so that a key revoked
anywhere is refused with the next request everywhere. Where the database does not tell of its commits, each check reads.
"""

import hmac
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock

from sqlalchemy import or_, select, update

from app.access.scope import Scope
from app.access.token import DIGEST_BYTES, parse
from app.access.viewer import NOBODY, Viewer
from app.database import Database
from app.tables import KeyRow

BETWEEN_NOTES_SECONDS = 60.0


@dataclass(frozen=True)
class _Kept:
    """What is kept of a key."""

    digest: bytes
    viewer: Viewer
    expires_at: float = math.inf


_STRANGER = _Kept(secrets.token_bytes(DIGEST_BYTES), NOBODY, -math.inf)
"""Stands in for a key that is not there, so that what is wrong takes the same work as what is right."""


class Keyring:
    """Checks keys, and remembers when each was used last."""

    def __init__(self, database: Database, revision: Callable[[], int | None]) -> None:
        self._database = database
        self._revision = revision
        self._seen: int | None = None
        self._kept: dict[bytes, _Kept] = {}
        self._lock = Lock()
        self._used: dict[str, float] = {}
        self._noted: dict[str, float] = {}

    def is_fresh(self) -> bool:
        """Whether what is in memory still holds: then it can be recalled in microseconds, without a wait."""
        revision = self._revision()
        return revision is not None and revision == self._seen

    def refresh(self) -> None:
        """Read the keys anew, unless what is in memory still holds."""
        with self._lock:  # once, however many come at the same moment
            if not self.is_fresh():
                # The revision first: what is committed after it is seen by the next look.
                revision = self._revision()
                self._kept = self._read()
                self._seen = revision

    def check(self, text: str) -> Viewer | None:
        """Whom a key stands for at this moment, or None if it does not count."""
        self.refresh()
        return self.recall(text)

    def recall(self, text: str) -> Viewer | None:
        """Whom a key stood for when the keys were read: wrong, unknown, revoked and past its time are all one."""
        token = parse(text)
        if token is None:
            return None
        # Looked for by the digest, a wrong secret and an unknown id are one and the same: nothing is found.
        digest = token.digest
        kept = self._kept.get(digest, _STRANGER)
        is_right = hmac.compare_digest(digest, kept.digest) and kept.viewer.key_id == token.key_id
        now = time.time()
        if not (is_right and now < kept.expires_at):
            return None
        self._used[token.key_id] = now
        return kept.viewer

    def still_counts(self, viewer: Viewer) -> bool:
        """Whether the key that a viewer came with is accepted still; whoever came without one needs none."""
        if not viewer.key_id:
            return True
        self.refresh()
        return any(kept.viewer == viewer and time.time() < kept.expires_at for kept in self._kept.values())

    def note_uses(self, at_the_end: bool = False) -> None:
        """Write down when keys were used last: of each at most once a minute, until the end."""
        due = {key_id: at for key_id, at in self._used.copy().items() if at_the_end or self._is_due(key_id, at)}
        if not due:
            return
        with self._database.write() as session:
            for key_id, at in due.items():
                when = datetime.fromtimestamp(at, UTC)
                is_news = or_(KeyRow.last_used_at.is_(None), KeyRow.last_used_at < when)
                session.execute(update(KeyRow).where(KeyRow.id == key_id, is_news).values(last_used_at=when))
        self._noted |= due

    def _is_due(self, key_id: str, at: float) -> bool:
        return at - self._noted.get(key_id, -math.inf) >= BETWEEN_NOTES_SECONDS

    def _read(self) -> dict[bytes, _Kept]:
        # Columns, not rows: this is done after every commit, and takes a third of the time.
        query = select(KeyRow.digest, KeyRow.scope, KeyRow.owner, KeyRow.id, KeyRow.expires_at)
        with self._database.read() as session:
            found = [_keep(*row) for row in session.execute(query.where(KeyRow.revoked_at.is_(None)))]
        return {kept.digest: kept for kept in found}


def _keep(digest: str, scope: str, owner: str, key_id: str, expires_at: datetime | None) -> _Kept:
    ends = expires_at.timestamp() if expires_at is not None else math.inf
    return _Kept(bytes.fromhex(digest), Viewer(Scope(scope), owner, key_id), ends)
