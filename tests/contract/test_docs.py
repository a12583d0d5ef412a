"""What the documents say is so: links lead somewhere, tables are complete, commands exist."""

import re
import tomllib
from pathlib import Path

import pytest

from app.job_status import MOVES
from app.jobs.error_codes import ErrorCode
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", document.read_text())

    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_the_table_of_settings_is_that_of_the_code() -> None:
    documented = {row[0].strip("`"): row[1] for row in rows(section("Settings"))}
    fields = Settings.model_fields
    fixed = {name: str(field.default) for name, field in fields.items() if field.default is not None}

    assert documented.keys() == {f"ONELAYER_{name.upper()}" for name in fields}
    assert {name: documented[f"ONELAYER_{name.upper()}"].strip("`") for name in fixed} == fixed


def test_the_table_of_dependencies_has_each_of_them_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *(line for name in extras if name != "dev" for line in extras[name])]
    names = [re.split(r"[\[=]", line)[0] for line in declared]
    documented = re.sub(r"\([^)]*\)", "", ", ".join(row[0] for row in rows(section("What it is built on"))))

    assert sorted(name.strip() for name in documented.split(",")) == sorted(names)


def test_the_tree_names_every_folder_of_the_app_and_no_other() -> None:
    shown = re.findall(r"^  ([a-z]+)/ ", section("Where things are"), re.MULTILINE)
    there = [path.parent.name for path in (ROOT / "app").glob("*/__init__.py")]

    assert sorted(shown) == sorted(there)


def test_every_make_target_that_is_named_exists() -> None:
    commands = re.findall(r"(?:^|`)(make [^`\n#]+)", README, re.MULTILINE)
    named = {word for command in commands for word in command.split()[1:] if "=" not in word}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert named >= {"demo", "test", "dev", "check", "bench", "lock", "clean"}
    assert named <= targets


def test_the_codes_of_a_job_s_error_are_those_of_the_code() -> None:
    table = (ROOT / "docs" / "jobs.md").read_text().split("\n## Errors\n")[1].split("\n## ")[0]

    assert [row[0].strip("`") for row in rows(table)] == list(ErrorCode)


def test_the_moves_of_a_job_are_those_of_the_code() -> None:
    table = (ROOT / "docs" / "jobs.md").read_text().split("\n## States\n")[1].split("\n## ")[0]
    documented = {(row[0], row[1]) for row in rows(table) if row[0]}

    assert documented == {(str(start), str(end)) for start, ends in MOVES.items() for end in ends}
