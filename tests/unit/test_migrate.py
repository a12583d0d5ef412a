"""Bringing a database to the newest schema."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from sqlalchemy import inspect, text

from app import migrate as module
from app.database import Database
from app.migrate import NoDatabase, existing, head, is_current, migrate

FAILING = '''
"""Builds a table, changes another, then fails."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "9999", {head!r}


def upgrade() -> None:
    op.create_table("half", sa.Column("id", sa.Integer()))
    op.execute("DELETE FROM processes")
    op.drop_table("epochs")
    raise RuntimeError("the migration has a fault")
'''

RACER = """
import sys
from app.database import Database
from app.migrate import migrate

sys.stdin.readline()
print(migrate(Database(sys.argv[1])))
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'new.db'}"


@pytest.fixture
def empty(url: str) -> Iterator[Database]:
    made = Database(url)
    yield made
    made.dispose()


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


def test_a_database_is_brought_to_the_newest_schema(empty: Database):
    assert not is_current(empty)

    assert migrate(empty) == head()

    assert is_current(empty)
    assert {"datasets", "jobs", "epochs", "models", "processes"} <= tables(empty)


def test_only_a_database_of_this_version_is_taken_as_it_is(database: Database):
    found = existing(str(database.engine.url))

    assert is_current(found)
    found.dispose()


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path):
    with pytest.raises(NoDatabase, match="--data-dir"):
        existing(f"sqlite:///{tmp_path / 'onelayer.db'}")

    assert list(tmp_path.iterdir()) == []


def test_a_database_of_another_version_is_not_migrated(url: str, empty: Database):
    with empty.write() as session:
        session.execute(text("CREATE TABLE other (id TEXT)"))

    with pytest.raises(NoDatabase, match="onelayer migrate"):
        existing(url)

    assert tables(empty) == {"other"}


def test_migrating_again_changes_nothing(database: Database):
    with database.write() as session:
        session.execute(text("INSERT INTO processes VALUES ('p', 'api', 'h', 1, 1, '[]', '2026', '2026', NULL)"))

    assert migrate(database) == head()

    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM processes")) == 1


def test_processes_that_migrate_at_once_all_succeed(url: str, empty: Database):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    replies = [racer.communicate()[0].strip() for racer in racers]

    assert replies == [head()] * 2
    assert is_current(empty)


def test_nobody_else_writes_while_a_migration_looks_at_what_is_missing(
    empty: Database, url: str, monkeypatch: pytest.MonkeyPatch
):
    upgrade = module.command.upgrade

    def interrupted(config: Config, version: str) -> None:
        other = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0)
        with closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        upgrade(config, version)

    monkeypatch.setattr(module.command, "upgrade", interrupted)

    assert migrate(empty) == head()


def test_a_migration_that_fails_leaves_everything_as_it_was(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = tables(database)
    with database.write() as session:
        session.execute(text("INSERT INTO processes VALUES ('p', 'api', 'h', 1, 1, '[]', '2026', '2026', NULL)"))
    scripts = shutil.copytree(module._SCRIPTS, tmp_path / "migrations")
    (scripts / "versions" / "9999_fails.py").write_text(FAILING.format(head=head()))
    monkeypatch.setattr(module, "_SCRIPTS", scripts)

    with pytest.raises(RuntimeError, match="fault"):
        migrate(database)

    assert not is_current(database)
    monkeypatch.undo()
    assert is_current(database)
    assert tables(database) == before
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM processes")) == 1
