"""Backups that are written while their models, jobs and checkpoints change."""

# ruff: noqa: F811 - fixtures of another room are imported by name

import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection

from app.backup import _Writer, backup
from app.database import Database
from app.models.registry import Registry
from app.restore import restore
from app.storage import Storage
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

    def while_one_is_deleted(self: _Writer, collection: str, ids: list[str]) -> None:
        if collection == "models":
            registry.delete("line:2")
        copy(self, collection, ids)

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
