"""Who may import whom: the import-linter contracts, and the rules that they cannot express."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "app"

LINT = "from importlinter.cli import lint_imports_command as lint; lint()"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def imported(folder: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name, f"{file.relative_to(ROOT)}:{node.lineno}") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or ".", f"{file.relative_to(ROOT)}:{node.lineno}"


def parts_of_app() -> set[str]:
    folders = {path.parent.name for path in APP.glob("*/__init__.py")}
    return {f"app.{name}" for name in folders | {path.stem for path in APP.glob("*.py")} - {"__init__"}}


def test_the_import_contracts_hold() -> None:
    result = python("-c", LINT, "--no-logo", "--no-cache")

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("room", ["app.training", "app.demo"])
def test_a_room_that_imports_nothing_of_app_is_kept_from_every_part_of_it(room: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

    (contract,) = (found for found in contracts if found.get("source_modules") == [room])

    assert set(contract["forbidden_modules"]) == parts_of_app() - {room}


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("demo", {"app.demo", "httpx", "rich"}),
        ("training", {"app.training", "llvmlite", "numba", "numpy", "pydantic", "torch"}),
    ],
)
def test_a_room_imports_only_what_it_is_built_on(room: str, allowed: set[str]) -> None:
    strangers = [
        f"{place}: {module}"
        for module, place in imported(APP / room)
        if module.partition(".")[0] not in sys.stdlib_module_names
        and not any(module == name or module.startswith(f"{name}.") for name in allowed)
    ]

    assert strangers == []


def test_the_api_process_imports_neither_torch_nor_numba_and_matplotlib_only_once_it_draws() -> None:
    result = python("-c", "import sys, app.main; print(sorted({'torch', 'numba', 'matplotlib'} & sys.modules.keys()))")

    assert result.stdout.strip() == "[]", result.stdout + result.stderr
