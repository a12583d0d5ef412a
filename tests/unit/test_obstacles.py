"""What keeps a command from its data ends it with one sentence, and no traceback."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from sqlalchemy import text
from typer.testing import CliRunner, Result

from app import server
from app.__main__ import main
from app.database import Database
from app.edge import listeners
from app.errors import StorageFull
from app.migrate import made
from app.obstacles import obstacles
from app.settings import Settings
from app.worker import supervisor

Run = Callable[..., Result]
COMMANDS = {
    "serve": ["serve", "--port", "0"],
    "worker": ["worker"],
    "migrate": ["migrate"],
    "backup": ["backup", "no-such-folder/kept.tar"],
    "keys create": ["keys", "create", "--scope", "read"],
    "keys list": ["keys", "list"],
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on the data directory `data`, without what takes long or stays."""
    monkeypatch.setattr(supervisor, "_load", lambda settings: None)
    monkeypatch.setattr(supervisor.Supervisor, "_listen", lambda self: None)
    monkeypatch.setattr(listeners, "listen", lambda host, port: [])
    monkeypatch.setattr(server, "serve", lambda settings, listeners: pytest.fail("it serves"))
    return lambda command: CliRunner().invoke(main, [*COMMANDS[command], "--data-dir", str(tmp_path / "data")])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_of_a_newer_version_is_named(command: str, run: Run, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    database = made(settings)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.dispose()

    done = run(command)

    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "newer version" in done.stderr.splitlines()[-1]
    assert "onelayer migrate" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_no_database_is_named(command: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "onelayer.db").write_bytes(b"These are notes of mine, and no database. " * 100)

    done = run(command)

    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "no SQLite database" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["serve", "worker", "migrate", "keys create"])
def test_a_data_directory_that_cannot_be_made_is_named(command: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")

    done = run(command)

    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert str(tmp_path / "data") in done.stderr.splitlines()[-1]
    assert "--data-dir" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (PermissionError(errno.EROFS, "Read-only file system", "/data/x"), "--data-dir"),
        (OSError(errno.ENOSPC, "No space left on device"), "free some space"),
        (StorageFull("The disk is full; free some space and try again."), "free some space"),
    ],
)
def test_what_the_disk_refuses_is_said_with_what_helps(
    error: Exception, cure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, obstacles(tmp_path):
        raise error

    assert ended.value.exit_code == 1
    assert cure in capsys.readouterr().err


def test_a_fault_of_ours_stays_one(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(Exception, match="no such table"), obstacles(tmp_path), database.read() as session:
        session.execute(text("SELECT * FROM absent"))
    database.dispose()
