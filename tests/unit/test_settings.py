"""Settings."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings, strangers


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("ONELAYER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def in_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings as a child process with this environment reads them."""
    environment = settings.environment()
    with monkeypatch.context() as child:
        for name in set(os.environ) - set(environment):
            child.delenv(name)
        for name, value in environment.items():
            child.setenv(name, value)
        return Settings()


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ONELAYER_PORT", "9000")
    monkeypatch.setenv("ONELAYER_DATA_DIR", "/somewhere")
    monkeypatch.setenv("ONELAYER_LEASE_SECONDS", "2.5")

    settings = Settings()

    assert (settings.port, settings.data_dir, settings.lease_seconds) == (9000, Path("/somewhere"), 2.5)
    assert Settings(port=1).port == 1


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "http"),
        ("WORKERS", "-1"),
        ("WORKERS", "65"),
        ("LEASE_SECONDS", "0.5"),
        ("POLL_SECONDS", "0"),
        ("ATTEMPTS", "0"),
        ("LOG_LEVEL", "loud"),
        ("BODY_LIMIT_MIB", "0"),
    ],
)
def test_what_makes_no_sense_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(f"ONELAYER_{name}", value)

    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_the_database_lies_in_the_data_directory_unless_said_otherwise(tmp_path: Path):
    assert Settings(data_dir=tmp_path).resolved_database_url == f"sqlite:///{tmp_path}/onelayer.db"
    assert Settings(database_url="postgresql+psycopg://db/x").resolved_database_url == "postgresql+psycopg://db/x"
    assert Path(Settings(data_dir="here").resolved_database_url.removeprefix("sqlite:///")).is_absolute()


def test_limits_are_given_in_mebibytes():
    settings = Settings(upload_limit_mib=3, unpacked_limit_mib=5, body_limit_mib=2)

    limits = (settings.upload_limit_bytes, settings.unpacked_limit_bytes, settings.body_limit_bytes)
    assert limits == (3 * 2**20, 5 * 2**20, 2 * 2**20)


def test_a_child_process_has_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    settings = Settings(
        port=0, data_dir=tmp_path / "data", workers=3, lease_seconds=1.25, attempts=7, log_level="debug",
        database_url="postgresql+psycopg://user:p%40ss@db/x",
    )  # fmt: skip

    child = in_environment(settings, monkeypatch)

    assert child == settings.model_copy(update={"cache_dir": settings.resolved_cache_dir})
    assert settings.environment()["PATH"] == os.environ["PATH"]


def test_a_child_process_in_another_folder_has_the_same_data(tmp_path: Path):
    environment = Settings(data_dir=Path("here")).environment()
    code = "from app.settings import Settings; s = Settings(); print(s.resolved_database_url, s.data_dir)"

    child = subprocess.run(
        [sys.executable, "-c", code], env={**environment, "PYTHONPATH": str(Path.cwd())}, cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    here = Path("here").absolute()
    assert child.stdout.split() == [f"sqlite:///{here}/onelayer.db", str(here)]


def test_what_was_chosen_wins_over_the_environment_in_a_child_process_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ONELAYER_DATABASE_URL", "postgresql+psycopg://precious/x")
    monkeypatch.setenv("onelayer_port", "9000")

    child = in_environment(Settings(database_url=None, port=8001), monkeypatch)

    assert (child.database_url, child.port) == (None, 8001)


def test_compiled_code_goes_to_the_users_cache_or_where_it_can_be_written(tmp_path: Path):
    assert Settings().resolved_cache_dir == tmp_path / "cache" / "onelayer"
    assert Settings(cache_dir=tmp_path / "mine").resolved_cache_dir == tmp_path / "mine"


def test_where_no_cache_can_be_written_the_data_directory_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    assert Settings(data_dir=tmp_path).resolved_cache_dir == tmp_path / "cache"


def test_variables_that_are_no_settings_are_found_with_the_one_that_may_be_meant():
    environment = {
        "ONELAYER_REQUESTS_PER_SECND": "1", "onelayer_wrokers": "2", "ONELAYER_COLOUR": "red",
        "ONELAYER_PORT": "1", "onelayer_host": "::", "ONELAYER_FASHION_MNIST": "here", "PATH": "",
    }  # fmt: skip

    assert strangers(environment) == {
        "ONELAYER_COLOUR": None,
        "ONELAYER_REQUESTS_PER_SECND": "ONELAYER_REQUESTS_PER_SECOND",
        "onelayer_wrokers": "ONELAYER_WORKERS",
    }


def test_what_the_project_itself_reads_is_no_stranger():
    root = Path(__file__).resolve().parents[2]
    code = "".join(file.read_text() for name in ("app", "tests", "benchmarks") for file in (root / name).rglob("*.py"))
    read = re.findall(r'environ(?:\.get\(|\[)"(ONELAYER_[A-Z_]+)"', code)

    assert read
    assert strangers(dict.fromkeys(read, "")) == {}


def test_a_server_says_which_settings_it_ignores(tmp_path: Path):
    # It ends at once, since it may not listen to others without a key.
    command = [sys.executable, "-m", "app", "serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path)]
    misspelt = {"ONELAYER_REQUESTS_PER_SECND": "1", "ONELAYER_PORT": "0"}

    done = subprocess.run(
        command, env={**os.environ, **misspelt}, capture_output=True, text=True, check=False, timeout=60
    )

    (line,) = (json.loads(line) for line in done.stderr.splitlines() if "SECND" in line)
    assert (line["level"], line["meant"]) == ("warning", "ONELAYER_REQUESTS_PER_SECOND")
