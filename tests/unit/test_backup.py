"""Backups that are written while their models, jobs and checkpoints change."""

# ruff: noqa: F811 - fixtures of another room are imported by name

import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection
from typer.testing import CliRunner

from app.__main__ import main
from app.backup import BackupError, _Writer, backup
from app.database import Database, DatabaseTime
from app.datasets.catalogue import Catalogue
from app.datasets.ingest import Choices
from app.datasets.synthetic import SyntheticLinear
from app.migrate import migrate
from app.models.registry import Registry
from app.restore import restore
from app.settings import Settings
from app.storage import Storage
from app.tables import JobRow
from tests.unit.models.conftest import Add, add, registry  # noqa: F401 - the fixtures

Restored = Callable[[], Database]


@pytest.fixture
def restored(database: Database, storage: Storage, tmp_path: Path) -> Iterator[Restored]:
    """Back up, restore into a new place, and give its database."""
    made: list[Database] = []

    def go() -> Database:
        backup(database, storage, tmp_path / "kept.tar")
        made.append(Database(f"sqlite:///{tmp_path / 'restored.db'}"))
        restore(made[0], Storage(tmp_path / "restored"), tmp_path / "kept.tar")
        return made[0]

    yield go
    for one in made:
        one.dispose()


def test_a_backup_is_its_owners_alone(restored: Restored, tmp_path: Path) -> None:
    restored()
    assert (tmp_path / "kept.tar").stat().st_mode & 0o777 == 0o600


def test_an_alias_goes_with_its_model_if_that_is_deleted_meanwhile(
    registry: Registry,
    add: Add,
    restored: Restored,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("line", "line", "other"):
        add(name)
    registry.set_alias("line", "champion", 2)
    registry.set_alias("line", "first", 1)
    copy = _Writer._folders

    def while_one_is_deleted(self: _Writer, collection: str, *whose: Any) -> None:
        if collection == "models":
            registry.delete("line:2")
        copy(self, collection, *whose)

    monkeypatch.setattr(_Writer, "_folders", while_one_is_deleted)
    with restored().read() as session:
        kept = session.execute(text("SELECT name, version FROM models ORDER BY name, version")).all()
        assert [tuple(row) for row in kept] == [("line", 1), ("other", 1)]
        assert session.execute(text("SELECT alias FROM aliases")).scalars().all() == ["first"]


def test_checkpoints_are_copied_before_the_moment_whose_histories_are_kept(
    database: Database, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write("checkpoints/j", b"epoch 3")
    snapshot = database.snapshot

    @contextmanager
    def while_the_job_goes_on() -> Iterator[Connection]:
        storage.write("checkpoints/j", b"epoch 4")
        with snapshot() as connection:
            yield connection

    monkeypatch.setattr(database, "snapshot", while_the_job_goes_on)
    backup(database, storage, tmp_path / "kept.tar")
    with tarfile.open(tmp_path / "kept.tar") as archive:
        member = archive.extractfile("checkpoints/j")
        assert member is not None
        assert member.read() == b"epoch 3"
        assert "checkpoints/j" in json.loads(archive.extractfile("manifest.json").read())["sha256"]  # type: ignore[union-attr]


@pytest.fixture
def data(tmp_path: Path) -> Iterator[tuple[Database, Storage]]:
    """A database that lies in its data directory, as the command line has it."""
    database = Database(Settings(data_dir=tmp_path / "data").resolved_database_url)
    storage = Storage(tmp_path / "data")
    migrate(database)
    yield database, storage
    database.dispose()


@pytest.mark.parametrize("part", ["the folder", "a file"])
def test_what_has_lost_files_is_named_and_left_out_and_the_rest_is_written(
    data: tuple[Database, Storage], tmp_path: Path, part: str
) -> None:
    database, storage = data
    catalogue = Catalogue(database, storage)
    line = SyntheticLinear([2.0, -3.4], 4.2, rows=10)
    lost, kept = (catalogue.create(line.content(), Choices(), name).id for name in ("lost", "kept"))
    folder = storage.path(f"datasets/{lost}")
    shutil.rmtree(folder) if part == "the folder" else (folder / "table.parquet").unlink()

    done = CliRunner().invoke(main, ["backup", str(tmp_path / "kept.tar"), "--data-dir", str(storage.root)])

    assert done.exit_code == 1
    assert f"datasets/{lost}" in done.stderr
    assert "everything else" in done.stdout
    with tarfile.open(tmp_path / "kept.tar") as archive:
        names = {name.split("/")[1] for name in archive.getnames() if name.startswith("datasets/")}
        rows = archive.extractfile("tables/datasets.ndjson").read().splitlines()  # type: ignore[union-attr]
    assert names == {kept}
    assert [json.loads(row)["id"] for row in rows] == [kept]


def test_predictions_that_are_lost_are_named(database: Database, storage: Storage, tmp_path: Path) -> None:
    row = {"id": "j", "status": "succeeded", "kind": "predict", "attempt": 2, "spec": {}, "model": "", "epochs": 0}
    with database.write() as session:
        session.add(JobRow(**row, requested_device="auto", created_at=DatabaseTime()))

    assert backup(database, storage, tmp_path / "kept.tar").missing == ["predictions/j.2"]


def test_what_is_deleted_meanwhile_is_not_missing(
    database: Database, storage: Storage, registry: Registry, add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("line")
    copy = _Writer._is_copied

    def while_it_is_deleted(self: _Writer, folder: Path, needed: set[str]) -> bool:
        registry.delete("line")
        return copy(self, folder, needed)

    monkeypatch.setattr(_Writer, "_is_copied", while_it_is_deleted)

    assert backup(database, storage, tmp_path / "kept.tar").missing == []


def test_who_restores_into_what_is_in_use_hears_what_has_to_be_new(
    database: Database, storage: Storage, tmp_path: Path
) -> None:
    backup(database, storage, tmp_path / "kept.tar")
    inside = Storage(tmp_path)

    with pytest.raises(BackupError, match="new one \\(ONELAYER_DATABASE_URL\\)") as elsewhere:
        restore(database, Storage(tmp_path / "new"), tmp_path / "kept.tar")
    with pytest.raises(BackupError, match="new data directory \\(--data-dir\\)"):
        restore(database, inside, tmp_path / "kept.tar")

    assert "--data-dir" not in str(elsewhere.value)
