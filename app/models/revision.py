"""The revision of the database: whether anything was committed since the last look, told in about a microsecond.

What a name means is remembered only as long as the revision stands, so that a new version or a moved alias is seen by
every process at once, and nobody has to be told. SQLite counts commits for us (`PRAGMA data_version`). Other databases
have no such counter within reach of a microsecond; there the revision is unknown, and names are looked up each time.
"""

import sqlite3
from threading import Lock

from sqlalchemy import event

from app.database import Database


class Revision:
    """A number that changes with every commit of another connection: those of this process and of all others."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine
        self._is_known = self._engine.dialect.name == "sqlite"
        self._cursor: sqlite3.Cursor | None = None
        self._lock = Lock()

    def now(self) -> int | None:
        """The revision, or None where the database does not tell."""
        if not self._is_known:
            return None
        with self._lock:
            cursor = self._cursor or self._open()
            revision: int = cursor.execute("PRAGMA data_version").fetchone()[0]
        return revision

    def _open(self) -> sqlite3.Cursor:
        # A connection of its own that never writes: commits of the connection that asks are not counted.
        pooled = self._engine.raw_connection()
        connection = pooled.driver_connection
        assert isinstance(connection, sqlite3.Connection)
        pooled.detach()
        event.listen(self._engine, "engine_disposed", lambda _: pooled.close(), once=True)
        self._cursor = connection.cursor()
        return self._cursor
