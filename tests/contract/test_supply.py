"""What the service is made of and how it is run: licences, the audit, what starts it, the document for operators."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests import audit
from tests.licences import LIST, WELCOME, licence, lines, pinned

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_of_licences_is_that_of_the_lock() -> None:
    listed = re.findall(r"^\| ([a-z0-9._-]+) \| ([^ ]+) \|", LIST.read_text(), re.MULTILINE)

    assert dict(listed[1:]) == pinned()


def test_every_licence_in_the_list_is_the_one_that_is_installed() -> None:
    installed = [line for line, name in zip(lines(), sorted(pinned()), strict=True) if licence(name) is not None]

    assert [line for line in installed if line not in LIST.read_text()] == []


def test_every_licence_is_one_under_which_it_may_be_passed_on() -> None:
    unwelcome = [line for line in lines() if not WELCOME.search(line.rsplit("|", 2)[1]) and "not installed" not in line]

    assert unwelcome == []


def ended(stdout: str, stderr: str = "") -> Any:
    return lambda *_, **__: subprocess.CompletedProcess([], 1, stdout, stderr)


def test_a_known_weakness_fails_the_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    weakness = '{"id": "PYSEC-1", "fix_versions": ["1.1"]}'
    found = f'{{"dependencies": [{{"name": "a", "version": "1.0", "vulns": [{weakness}]}}]}}'
    monkeypatch.setattr(audit.subprocess, "run", ended(found))

    assert audit.audit() == 1
    assert "a 1.0: PYSEC-1, mended in 1.1" in capsys.readouterr().out


def test_where_the_data_of_the_audit_cannot_be_had_it_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit.subprocess, "run", ended("", "ERROR: no such host"))

    assert audit.audit() == 0
    assert "skipped" in capsys.readouterr().out


def test_the_unit_of_systemd_says_how_to_install_as_the_image_does() -> None:
    def installed(name: str) -> list[str]:
        text = (ROOT / name).read_text().replace("${TORCH}", "cpu").replace('"', "")
        return re.findall(r"pip (install .+?)(?: \\)?$", text, re.MULTILINE)

    assert installed("deploy/onelayer.service") == installed("Dockerfile")
    assert len(installed("Dockerfile")) == 3


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "compose.cuda.yaml"])
def test_a_container_names_settings_that_exist(name: str) -> None:
    named = set(re.findall(r"ONELAYER_([A-Z_]+)", (ROOT / name).read_text()))

    assert {setting.lower() for setting in named} <= set(Settings.model_fields)


def test_a_container_has_no_rights_and_is_healthy_when_it_is_ready() -> None:
    dockerfile, compose = ((ROOT / name).read_text() for name in ("Dockerfile", "compose.yaml"))

    assert re.search(r"^USER 10001:10001$", dockerfile, re.MULTILINE)
    assert "/readyz" in dockerfile.partition("HEALTHCHECK")[2]
    assert "read_only: true" in compose
    assert re.search(r"cap_drop:\s+- ALL", compose)
    assert "no-new-privileges:true" in compose


def test_the_document_for_operators_names_settings_and_metrics_that_exist() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    metrics = (ROOT / "deploy" / "grafana.json").read_text()

    settings = {name.lower() for name in re.findall(r"`ONELAYER_([A-Z_]+)", text)}
    assert settings <= set(Settings.model_fields)
    limits = {name for name in Settings.model_fields if "limit" in name}
    assert limits <= settings
    named = set(re.findall(r"`(onelayer_[a-z_]+)", text))
    assert {name for name in named if name not in metrics} == set()
