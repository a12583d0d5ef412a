import sys
from pathlib import Path

import pytest

from app.demo import server
from app.demo.failure import DemoFailed
from app.demo.server import Server


@pytest.fixture
def replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of Python: whatever it is, the demo takes it for its server."""
    program = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(program))
    return program


def write(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_server_that_ends_early_is_a_failure_with_its_last_words(replaced: Path) -> None:
    write(replaced, "echo the port is taken; exit 3")

    with pytest.raises(DemoFailed, match="the port is taken"), Server():
        pass


def test_a_server_that_never_gets_ready_is_stopped(
    replaced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        replaced,
        f"cd {tmp_path}; trap 'touch stopped; exit 0' TERM; touch started; while :; do sleep 0.05; done",
    )
    monkeypatch.setattr(server, "READY_SECONDS", 0.5)

    with pytest.raises(DemoFailed, match="not ready"), Server():
        pass

    assert (tmp_path / "started").exists()
    assert (tmp_path / "stopped").exists()


def test_a_server_that_does_not_listen_to_reason_is_killed(replaced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(replaced, "trap '' TERM; while :; do sleep 0.05; done")
    monkeypatch.setattr(server, "READY_SECONDS", 0.2)
    monkeypatch.setattr(server, "STOP_SECONDS", 0.2)

    with pytest.raises(DemoFailed, match="not ready"), Server():
        pass


def test_the_users_own_settings_do_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONELAYER_DATABASE_URL", "postgresql+psycopg://precious")
    monkeypatch.setenv("ONELAYER_CACHE_DIR", "/cache")

    given = server._environment()

    assert "ONELAYER_DATABASE_URL" not in given
    assert given["ONELAYER_CACHE_DIR"] == "/cache"
