"""Restore: a backup becomes a new data directory and a new database, or nothing changes."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, DateTime, MetaData, Table, inspect
from sqlalchemy.engine import Connection

from app import migrate
from app.backup import MANIFEST, BackupError, lines
from app.database import Database
from app.datasets import dataset
from app.jobs import checkpoints
from app.models import registry, results
from app.storage import Storage

COLLECTIONS = (dataset.COLLECTION, registry.COLLECTION, results.COLLECTION, checkpoints.COLLECTION)
_AT_A_TIME = 5000


def restore(database: Database, storage: Storage, file: Path) -> dict[str, int]:
    """Check the whole backup, then bring it into a new data directory. Returns how many rows of each table."""
    _check_that_it_is_new(database, storage)
    with storage.stage() as stage:
        schema = _unpack(file, stage.path)
        with database.engine.execution_options(begin="IMMEDIATE").connect() as connection, connection.begin():
            try:
                migrate.upgrade(connection, schema)
            except migrate.UnknownSchema as error:
                raise BackupError("The backup is of a newer version; restore it with that one.") from error
            counts = _load(connection, stage.path)
            migrate.upgrade(connection)
            for collection in COLLECTIONS:
                if (stage.path / collection).is_dir():
                    storage.adopt(stage.path / collection, collection)
    return counts


def _check_that_it_is_new(database: Database, storage: Storage) -> None:
    has_tables = bool(inspect(database.engine).get_table_names())
    is_elsewhere = database.file is None or database.file.absolute().parent != storage.root
    if has_tables and is_elsewhere:
        raise BackupError("The database holds tables already; restore into a new one (ONELAYER_DATABASE_URL).")
    if has_tables or any((storage.root / name).exists() for name in COLLECTIONS):
        raise BackupError(f"{storage.root} holds data already; restore into a new data directory (--data-dir).")


def _unpack(file: Path, folder: Path) -> str:
    """Every member, checked against the manifest; returns the version of the schema."""
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                _extract(archive, member, folder)
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        if not file.exists():
            raise BackupError(f"There is no file {file}.") from error
        raise BackupError(f"{file} is cut off, or no backup: it has no manifest.") from error
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise BackupError(f"{file} is no backup, or a damaged one: {error}.") from error
    for name, expected in manifest["sha256"].items():
        if not (folder / name).is_file() or _sha256(folder / name) != expected:
            raise BackupError(f"{file} is damaged: {name} is not what was backed up.")
    return str(manifest["schema"])


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write a member's bytes into the folder. By hand, since tarfile's own filters came only with Python 3.11.4."""
    content = archive.extractfile(member) if member.isfile() else None
    target = (folder / member.name).resolve()
    if content is None or not target.is_relative_to(folder.resolve()):
        raise tarfile.TarError(f"{member.name!r} is no file of a backup")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(content, file)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(connection: Connection, folder: Path) -> dict[str, int]:
    """The rows, into the tables as the backup's schema has them."""
    metadata = MetaData()
    metadata.reflect(connection)
    counts = {}
    for table in (found for found in metadata.sorted_tables if (folder / _file_of(found)).exists()):
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type.none_as_null = True
        counts[table.name] = 0
        for batch in _batches(lines(folder / _file_of(table)), table):
            connection.execute(table.insert(), batch)
            counts[table.name] += len(batch)
    jobs = metadata.tables["jobs"]
    # Their workers are of another time: they go on from their checkpoints, and no attempt is counted.
    waiting = jobs.update().where(jobs.c.status == "running").values(status="queued", worker_id=None, lease_until=None)
    connection.execute(waiting)
    return counts


def _file_of(table: Table) -> str:
    return f"tables/{table.name}.ndjson"


def _batches(rows: Iterator[dict[str, Any]], table: Table) -> Iterator[list[dict[str, Any]]]:
    times = [column.name for column in table.columns if isinstance(column.type, DateTime)]
    while batch := list(islice(rows, _AT_A_TIME)):
        for row in batch:
            row.update({name: _time(row[name]) for name in times if row[name] is not None})
        yield batch


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
