"""Backup: one file that holds the database and every file that it knows of, as of one moment.

    tables/jobs.ndjson, …         the rows, as JSON lines, from one snapshot of the database
    datasets/<id>/…, models/<id>/…, predictions/<job>.<attempt>/…, checkpoints/…
    manifest.json                 the schema's version and the SHA-256 of every member: a cut-off file has none

The server may go on meanwhile: files never change once a row knows them, and what is deleted while it is copied is
left out, row and files. So is what has lost files but is still there; whoever asked for the backup is told of that.
A backup of SQLite can be restored to PostgreSQL and the other way round.
"""

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import ColumnElement, Table, select
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.orm import InstrumentedAttribute

from app import migrate
from app.database import Database
from app.datasets import dataset
from app.datasets.dataset import DESCRIPTION_FILE, TABLE_FILE
from app.job_status import Status
from app.jobs import checkpoints
from app.models import registry, results
from app.models.weights import ENCODING_FILE, WEIGHTS_FILE
from app.storage import Storage
from app.tables import DatasetRow, JobRow, ModelRow, Row

TRANSIENT = ("processes", "idempotency_keys")
"""Tables that are no part of it: they belong to what is under way."""

MANIFEST = "manifest.json"
_AT_A_TIME = 5000
_REFERENCES = ("dataset_id", "validation_dataset_id")
_OWNERS = {"aliases": "model_id"}
"""Rows that go with another one."""
_NEEDED = {
    dataset.COLLECTION: {TABLE_FILE, DESCRIPTION_FILE},
    registry.COLLECTION: {WEIGHTS_FILE, ENCODING_FILE},
    results.COLLECTION: {results.FILE},
}
"""The files without which a folder is none of its collection."""
_PREDICTED = select(JobRow.id, JobRow.attempt).where(JobRow.kind == "predict", JobRow.status == Status.SUCCEEDED)


class BackupError(Exception):
    """The backup cannot be written or restored; the text says why and what to do."""


@dataclass(frozen=True)
class Written:
    """A backup that is written: its size, and the keys of what it lacks since the storage does."""

    bytes: int
    missing: list[str]


def tables() -> list[Table]:
    """The tables of a backup, each behind those that it refers to."""
    return [table for table in Row.metadata.sorted_tables if table.name not in TRANSIENT]


def backup(database: Database, storage: Storage, file: Path) -> Written:
    """Write a backup; it appears under its name when it is whole."""
    if file.exists():
        raise BackupError(f"{file} exists already; give another name.")
    partial = file.with_name(f"{file.name}.partial")
    try:
        with open(partial, "wb", opener=_for_the_owner) as raw:
            with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
                writer = _Writer(archive, storage, database)
                writer.write()
            raw.flush()
            os.fsync(raw.fileno())
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)
    return Written(file.stat().st_size, writer.missing)


def _for_the_owner(path: str, flags: int) -> int:
    """Open a file that nobody else may read: all data are in it."""
    return os.open(path, flags, 0o600)


class _Writer:
    """Puts members into an archive and remembers their hashes."""

    def __init__(self, archive: tarfile.TarFile, storage: Storage, database: Database) -> None:
        self._archive = archive
        self._storage = storage
        self._database = database
        self._hashes: dict[str, str] = {}
        self._gone: set[str] = set()
        self.missing: list[str] = []

    def write(self) -> None:
        """Files first, so that the rows of what vanishes meanwhile can be left out.

        Checkpoints before the snapshot, so that the histories which they continue are whole in it.
        """
        for path in self._storage.files(checkpoints.COLLECTION):
            self._file(path)
        with self._database.snapshot() as connection:
            self._folders(dataset.COLLECTION, DatasetRow.id, connection)
            self._folders(registry.COLLECTION, ModelRow.id, connection)
            for job_id, attempt in connection.execute(_PREDICTED).all():
                is_job = (JobRow.id == job_id) & (JobRow.attempt == attempt)
                self._folder(results.COLLECTION, results.key(job_id, attempt), is_job)
            for table in tables():
                self._table(connection, table)
        manifest = {"format": 1, "schema": migrate.head(), "sha256": self._hashes}
        self._bytes(MANIFEST, json.dumps(manifest).encode())

    def _folders(self, collection: str, column: InstrumentedAttribute[str], connection: Connection) -> None:
        """Copy folders, and note which of them are not there, or not whole."""
        for row_id in connection.scalars(select(column)).all():
            if not self._folder(collection, f"{collection}/{row_id}", column == row_id):
                self._gone.add(row_id)

    def _folder(self, collection: str, key: str, is_known: ColumnElement[bool]) -> bool:
        """Copy a folder if it is whole. It may be deleted meanwhile, row first; what has a row still is missing."""
        if self._is_copied(self._storage.path(key), _NEEDED[collection]):
            return True
        with self._database.read() as session:  # one of its own, since the snapshot's is of a time before
            if session.scalar(select(1).where(is_known)) is not None:
                self.missing.append(key)
        return False

    def _is_copied(self, folder: Path, needed: set[str]) -> bool:
        try:
            paths = sorted(folder.iterdir())
        except FileNotFoundError:
            return False
        return needed <= {path.name for path in paths} and all(self._file(path) for path in paths)

    def _file(self, path: Path) -> bool:
        try:
            with path.open("rb") as source:
                self._member(str(path.relative_to(self._storage.root)), source, os.fstat(source.fileno()).st_size)
        except FileNotFoundError:
            return False
        return True

    def _table(self, connection: Connection, table: Table) -> None:
        rows = connection.execution_options(yield_per=_AT_A_TIME).execute(select(table)).mappings()
        with tempfile.TemporaryFile(dir=self._storage.scratch) as lines:  # /tmp may be memory
            for row in rows:
                if row.get("id") not in self._gone and row.get(_OWNERS.get(table.name, "")) not in self._gone:
                    lines.write(
                        json.dumps(self._without_what_is_gone(row), default=datetime.isoformat).encode() + b"\n"
                    )
            size = lines.tell()
            lines.seek(0)
            self._member(f"tables/{table.name}.ndjson", lines, size)

    def _without_what_is_gone(self, row: RowMapping) -> dict[str, Any]:
        return {name: None if name in _REFERENCES and value in self._gone else value for name, value in row.items()}

    def _bytes(self, name: str, data: bytes) -> None:
        self._member(name, io.BytesIO(data), len(data))

    def _member(self, name: str, source: IO[bytes], size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size = size
        reader = _Hashing(source)
        self._archive.addfile(member, reader)
        self._hashes[name] = reader.digest.hexdigest()


class _Hashing:
    """A stream that is hashed as it is read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        return data


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table in a backup."""
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)
