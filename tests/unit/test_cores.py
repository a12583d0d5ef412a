"""How many cores a process takes for its own."""

import os
from pathlib import Path

import pytest

from app import cores as module
from app.cores import cores


@pytest.fixture(autouse=True)
def sixteen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine of sixteen cores, with control groups of its own."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(module, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(module, "_MOUNT", tmp_path / "sys")


def grouped(tmp_path: Path, line: str, **files: str) -> None:
    (tmp_path / "cgroup").write_text(line)
    for name, text in files.items():
        file = tmp_path / "sys" / name.replace("__", "/").replace("CPUMAX", "cpu.max").replace("CFS", "cpu.cfs")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_without_control_groups_it_is_what_the_process_may_run_on() -> None:
    assert cores() == 16


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("5000 100000\n", 1),
        ("max 100000\n", 16),
        ("6400000 100000", 16),
    ],
)
def test_a_quota_counts_as_the_cores_whose_time_it_is(tmp_path: Path, limit: str, expected: int) -> None:
    grouped(tmp_path, "0::/\n", CPUMAX=limit)

    assert cores() == expected


def test_the_tightest_of_all_groups_above_counts(tmp_path: Path) -> None:
    files = {"system__CPUMAX": "300000 100000", "system__one.service__CPUMAX": "max 100000"}
    grouped(tmp_path, "0::/system/one.service\n", **files)

    assert cores() == 3


def test_groups_of_the_first_version_count_too(tmp_path: Path) -> None:
    files = {"cpu,cpuacct__CFS_quota_us": "400000\n", "cpu,cpuacct__CFS_period_us": "100000\n"}
    grouped(tmp_path, "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n", **files)

    assert cores() == 4


def test_no_limit_and_what_cannot_be_read_change_nothing(tmp_path: Path) -> None:
    files = {"cpu__CFS_quota_us": "-1\n", "cpu__CFS_period_us": "100000\n"}
    grouped(tmp_path, "4:cpu:/\n0::/\n", CPUMAX="what is this", **files)

    assert cores() == 16
