"""The database: its engine, and sessions that read or write.

SQLite runs in WAL mode; reads begin DEFERRED, writes begin IMMEDIATE, because a deferred transaction that reads and
then writes fails with "database is locked" under concurrency. The same code runs on PostgreSQL.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Engine, create_engine, event
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.sql.visitors import InternalTraversal
from sqlalchemy.types import TypeDecorator

from app.errors import StorageFull

BUSY_TIMEOUT_MILLISECONDS = 10_000
RETRY_SECONDS = 0.02

LOCK_TIMEOUT_MILLISECONDS = 5_000
PATIENCE_SECONDS = 8.0
"""How long a server of requests waits for what PostgreSQL says to a statement; locks are given up before."""

LONG_PATIENCE_SECONDS = 120.0
"""The same of statements that may well have much to do."""

HURRY_SECONDS = 1.0
"""The same of all of them while it stops."""

_POSTGRESQL = {
    "connect_timeout": 3,
    # A machine that is gone, or a network, says nothing: without these, its connections would be waited for for hours.
    "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}  # fmt: skip

_PASSING = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL,  # others hold it
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,  # the disk or the system's open files are at their limit
}  # fmt: skip


class UtcTime(TypeDecorator[datetime]):
    """A point in time. Kept without a zone, as UTC; handed out with it."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Drop the zone after converting to UTC."""
        return value.astimezone(UTC).replace(tzinfo=None) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Put UTC back."""
        return value.replace(tzinfo=UTC) if value is not None else None


class DatabaseTime(ColumnElement[datetime]):
    """The database's clock, moved by some seconds: processes compare their leases by this one clock alone."""

    type = UtcTime()
    # Part of the key under which SQLAlchemy keeps a compiled statement: compiling one takes longer than running it.
    inherit_cache = True
    _traverse_internals = [("offset_seconds", InternalTraversal.dp_plain_obj)]  # noqa: RUF012  as SQLAlchemy has it

    def __init__(self, offset_seconds: float = 0.0) -> None:
        self.offset_seconds = float(offset_seconds)


@compiles(DatabaseTime, "sqlite")
def _sqlite_time(element: DatabaseTime, compiler: SQLCompiler, **options: Any) -> str:
    # Six decimals, because SQLAlchemy reads what follows the point as microseconds.
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '{element.offset_seconds:+.3f} seconds')"


@compiles(DatabaseTime, "postgresql")
def _postgresql_time(element: DatabaseTime, compiler: SQLCompiler, **options: Any) -> str:
    return f"(timezone('utc', clock_timestamp()) + interval '{element.offset_seconds:.3f} seconds')"


class Database:
    """One engine, and the two kinds of session on it."""

    def __init__(self, url: str, patience_seconds: float | None = None) -> None:
        """Wait for PostgreSQL's answer to a statement no longer than `patience_seconds`; by default for ever."""
        self._patience_seconds = patience_seconds
        self._is_long = threading.local()
        self.engine = _engine(url)
        if self.engine.dialect.name == "postgresql":
            event.listen(self.engine, "do_connect", self._connect)
        self._read = sessionmaker(self.engine, expire_on_commit=False)
        self._write = sessionmaker(self.engine.execution_options(begin="IMMEDIATE"), expire_on_commit=False)

    @property
    def file(self) -> Path | None:
        """SQLite's file, if it is SQLite's."""
        name = self.engine.url.database
        return Path(name) if self.engine.dialect.name == "sqlite" and name else None

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing."""
        with self._read() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits when the block ends well, and otherwise changes nothing."""
        try:
            with self._write.begin() as session:
                yield session
        except OperationalError as error:
            if "disk is full" in str(error.orig) or "No space left" in str(error.orig):
                raise StorageFull("The disk under the database is full; free some space and try again.") from error
            raise

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection that sees one state of the database for as long as it is open, whatever is written meanwhile."""
        is_postgresql = self.engine.dialect.name == "postgresql"
        engine = self.engine.execution_options(isolation_level="REPEATABLE READ") if is_postgresql else self.engine
        with engine.connect() as connection, connection.begin():
            yield connection

    def hurry(self) -> None:
        """Wait less from now on, because the process stops."""
        if self._patience_seconds is not None:
            self._patience_seconds = HURRY_SECONDS

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Statements of this thread in this block may have much to do, such as to delete a long history."""
        before = getattr(self._is_long, "value", False)
        self._is_long.value = True
        try:
            yield
        finally:
            self._is_long.value = before

    def _patience(self) -> float | None:
        is_long = getattr(self._is_long, "value", False) and self._patience_seconds not in (None, HURRY_SECONDS)
        return LONG_PATIENCE_SECONDS if is_long else self._patience_seconds

    def _connect(
        self, dialect: Dialect, entry: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
    ) -> DBAPIConnection:
        """Connect to PostgreSQL. What the URL says of time goes before what is said here."""
        connection: DBAPIConnection = _patient(self._patience).connect(*arguments, **{**_POSTGRESQL, **options})
        connection.autocommit = True
        connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}")
        connection.autocommit = False
        return connection

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def is_passing(error: BaseException) -> bool:
    """Whether the database failed for what passes by itself: others hold it, or its server was started again."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _PASSING
    is_cut_off = isinstance(error, DBAPIError) and error.connection_invalidated
    return is_cut_off or isinstance(error, OperationalError | PoolTimeout)


def is_uncertain(error: BaseException) -> bool:
    """Whether the connection was lost, so that nobody knows what became of a commit that was under way."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _engine(url: str) -> Engine:
    engine = create_engine(url, pool_size=20, max_overflow=40, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _patient(patience_seconds: Callable[[], float | None]) -> Any:
    """Connections of psycopg, which would wait for ever for a server that is there and says nothing."""
    import psycopg

    class Patient(psycopg.Connection[Any]):
        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            limit = timeout if timeout is not None else patience_seconds()
            end = None if limit is None else time.monotonic() + limit
            try:
                return super().wait(gen, interval, limit)
            except psycopg.OperationalError as error:
                if end is None or time.monotonic() < end:
                    raise
                # Closed, since its answer may still come, and would be taken for that to the next statement.
                self.pgconn.finish()
                raise psycopg.OperationalError(f"no answer within {limit:g} seconds") from error

    return Patient


def _prepare_sqlite(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    # The driver must emit no BEGIN of its own: ours says which kind.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}")
    _log_ahead(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _log_ahead(cursor: DBAPICursor) -> None:
    """Switch to WAL; while another writes to a new database, SQLite itself would not wait, whatever its timeout."""
    end = time.monotonic() + BUSY_TIMEOUT_MILLISECONDS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")
