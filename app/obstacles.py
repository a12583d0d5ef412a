"""Obstacles between a command and its data: each ends it with one sentence that says what to do, and no traceback."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from sqlalchemy.exc import DBAPIError, OperationalError

from app.errors import StorageFull
from app.migrate import UnknownSchema
from app.storage import FULL

_OF_SQLITE = {
    sqlite3.SQLITE_NOTADB: "The database file is no SQLite database; move it away, or restore a backup",
    sqlite3.SQLITE_CORRUPT: "The database file is damaged; restore a backup",
    sqlite3.SQLITE_FULL: "The disk under the database is full; free some space and try again",
    sqlite3.SQLITE_IOERR: "The disk under the database is full or fails; free some space, or look after the disk",
    sqlite3.SQLITE_READONLY: "The database file cannot be written; let this user write in its folder",
    sqlite3.SQLITE_CANTOPEN: "The database file cannot be opened; let this user write in its folder",
    sqlite3.SQLITE_PERM: "The database file cannot be opened; let this user write in its folder",
    sqlite3.SQLITE_BUSY: "Another process holds the database; try again",
}


@contextmanager
def obstacles(data_dir: Path) -> Iterator[None]:
    """End the command where the data cannot be reached; what else goes wrong is a fault, and stays one."""
    try:
        yield
    except (UnknownSchema, StorageFull, OSError, DBAPIError) as error:
        said = _said(error, data_dir)
        if said is None:
            raise
        typer.echo(said, err=True)
        raise typer.Exit(1) from error


def _said(error: Exception, data_dir: Path) -> str | None:
    if isinstance(error, DBAPIError):
        return _of_database(error, data_dir)
    if isinstance(error, OSError):
        cure = "free some space" if error.errno in FULL else "let this user write there, or give another --data-dir"
        return f"{error.filename or data_dir}: {error.strerror or error}; {cure}."
    return str(error)


def _of_database(error: DBAPIError, data_dir: Path) -> str | None:
    reason = str(error.orig).strip().partition("\n")[0]
    if isinstance(error.orig, sqlite3.Error):
        known = _OF_SQLITE.get(getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF)
        return f"{known} (data directory: {data_dir}; SQLite says: {reason})." if known else None
    if isinstance(error, OperationalError):
        return f"The database does not do its work; see to its server, or to ONELAYER_DATABASE_URL: {reason}"
    return None
