"""What an installation is made of: pins, locks, the wheel, and the Makefile that puts them in place."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import app

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements.lock", "requirements-dev.lock"]

PIN = re.compile(r"^(?P<name>[a-z0-9._-]+)(?:\[[a-z,]+\])?==(?P<version>[^\s;]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def pins(text: str) -> set[tuple[str, str]]:
    return {(pin["name"], pin["version"]) for pin in PIN.finditer(text)}


def test_every_dependency_is_pinned_to_one_version(project: dict[str, Any]) -> None:
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = [line for group in groups for line in group]

    assert [line for line in declared if not PIN.match(line)] == []


def test_the_locks_hold_what_the_project_declares(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    run = pins("\n".join(project["dependencies"] + extras["postgres"])) - {("torch", "2.13.0")}
    dev = run | pins("\n".join(extras["dev"]))

    assert run <= pins((ROOT / "requirements.lock").read_text())
    assert dev <= pins((ROOT / "requirements-dev.lock").read_text())


def test_the_lock_for_development_holds_the_lock_for_running() -> None:
    run, dev = ((ROOT / name).read_text() for name in LOCKS)

    assert pins(run) <= pins(dev)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_host_no_folder_and_no_build_of_torch(name: str) -> None:
    text = (ROOT / name).read_text()
    names = {found for found, _ in pins(text)}

    assert "://" not in text
    assert re.search(r"^(-|/|\.|file:)", text, re.MULTILINE) is None
    assert {found for found in names if re.match(r"torch|triton(?!client)|nvidia|cuda", found)} == set()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_for_every_package(name: str) -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / name).read_text().partition("\n\n")[0])

    assert [block.splitlines()[0] for block in blocks if PIN.match(block) and "--hash=sha256:" not in block] == []


def test_torch_is_pinned_alike_in_the_project_and_in_its_own_lock(project: dict[str, Any]) -> None:
    (declared,) = (line for line in project["dependencies"] if line.startswith("torch"))

    assert pins((ROOT / "requirements-torch.lock").read_text()) == pins(declared) == {("torch", "2.13.0")}


def test_the_package_says_the_version_of_the_project(project: dict[str, Any]) -> None:
    assert app.__version__ == project["version"]


def test_the_wheel_carries_the_migrations_and_the_command(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ["pyproject.toml", "README.md", "LICENSE"]:
        source.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source)
    for name in ["app", "migrations"]:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))

    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(source)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("onelayer-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())

    needed = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("migrations/**/*.py")}
    needed |= {path.relative_to(ROOT).as_posix() for path in ROOT.glob("app/**/*.py")}
    assert needed <= held
    assert not {name for name in held if name.startswith(("tests", "benchmarks"))}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout as `make` sees it, set up already."""
    for name in ["Makefile", "pyproject.toml", "requirements-dev.lock", "requirements-torch.lock"]:
        shutil.copy(ROOT / name, tmp_path)
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "TORCH"))}
    command = ["make", "--directory", str(folder), *arguments]
    return subprocess.run(command, env=kept, capture_output=True, text=True, check=False, timeout=60)


def test_a_second_make_has_nothing_to_do(checkout: Path) -> None:
    assert make(checkout, "--question", "setup").returncode == 0


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements-dev.lock", "requirements-torch.lock"])
def test_make_installs_again_when_what_it_installs_has_changed(checkout: Path, name: str) -> None:
    os.utime(checkout / ".venv" / ".installed", (2, 2))
    (checkout / name).touch()

    assert make(checkout, "--question", "setup").returncode == 1


def test_make_refuses_a_python_that_is_too_old_and_says_what_to_do(checkout: Path) -> None:
    (checkout / ".venv" / ".installed").unlink()
    old = checkout / "old"
    old.write_text("#!/bin/sh\ncase $1 in --version) echo Python 3.9.2 ;; *) exit 1 ;; esac\n")
    old.chmod(0o755)

    refused = make(checkout, f"PYTHON={old}", "setup")

    assert refused.returncode != 0
    assert "Onelayer needs Python 3.11 or newer" in refused.stderr
    assert "Python 3.9.2" in refused.stderr


def test_make_refuses_a_build_of_torch_that_it_does_not_know(checkout: Path) -> None:
    refused = make(checkout, "TORCH=rocm", "setup")

    assert refused.returncode != 0
    assert "TORCH=cpu" in refused.stderr
