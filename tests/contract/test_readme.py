"""The tour of the README, word for word: each `sh` block runs, and replies what the `json` block shows."""

import json
import math
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
TOUR = README.split("\n## A tour with curl\n")[1].split("\n## ")[0]
ADDRESS = "http://127.0.0.1:8000"
BOUNDARY = "-- the next block --"
ANYTHING = "…"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the tour needs curl")


@dataclass(frozen=True)
class Step:
    """Commands to type, and the part of the reply that is shown."""

    commands: str
    shown: Any


def steps(title: str) -> list[Step]:
    text = TOUR.split(f"\n### {title}\n")[1].split("\n### ")[0]
    pairs = re.findall(r"```sh\n(.*?)```\n```json\n(.*?)```", text, re.DOTALL)
    assert len(pairs) == text.count("```sh\n"), "every sh block is followed by what it replies"
    return [Step(commands, json.loads(shown)) for commands, shown in pairs]


def replies(tour: list[Step], url: str, folder: Path) -> list[Any]:
    """Type all the commands in one shell, as a reader does; the reply of each block."""
    script = f"\nprintf '\\n%s\\n' '{BOUNDARY}'\n".join(step.commands for step in tour).replace(ADDRESS, url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(reply) for reply in done.stdout.split(BOUNDARY)]


def differences(shown: Any, reply: Any, place: str = "reply") -> list[str]:
    """Where a reply is not as shown. A shown object may leave keys out; floats are compared to 1 %."""
    if shown == ANYTHING:
        return [] if reply is not None else [f"{place} is null"]
    if isinstance(shown, dict) and isinstance(reply, dict):
        missing = [f"{place}.{key} is missing" for key in shown.keys() - reply.keys()]
        shared = shown.keys() & reply.keys()
        return missing + [found for key in shared for found in differences(shown[key], reply[key], f"{place}.{key}")]
    if isinstance(shown, list) and isinstance(reply, list) and len(shown) == len(reply):
        pairs = enumerate(zip(shown, reply, strict=True))
        return [found for index, (one, other) in pairs for found in differences(one, other, f"{place}[{index}]")]
    if isinstance(shown, float) and isinstance(reply, float):
        return [] if math.isclose(shown, reply, rel_tol=0.01) else [f"{place} is {reply}, shown is {shown}"]
    return [] if shown == reply else [f"{place} is {reply!r}, shown is {shown!r}"]


def unlike(tour: list[Step], url: str, folder: Path) -> list[str]:
    answers = replies(tour, url, folder)
    pairs = zip(tour, answers, strict=True)
    return [f"{step.commands}: {found}" for step, reply in pairs for found in differences(step.shown, reply)]


@pytest.mark.parametrize("title", ["A line through noise", "Your own table"])
def test_the_tour_replies_as_the_readme_shows(title: str, server: Any, tmp_path: Path) -> None:
    assert unlike(steps(title), server.url, tmp_path) == []


def test_the_tour_through_fashion_mnist_replies_as_the_readme_shows(
    server: Any, tmp_path: Path, real_data: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fashion-mnist").symlink_to(real_data / "fashion-mnist")

    assert unlike(steps("Fashion-MNIST"), server.url, tmp_path) == []


def test_the_two_commands_come_first() -> None:
    first, second = re.findall(r"^make \w+", README, re.MULTILINE)[:2]

    assert (first, second) == ("make demo", "make test")


@pytest.mark.parametrize(
    ("shown", "reply"),
    [
        ({"a": 1}, {}),
        ([1, 2], [1]),
        (2.0, 2.5),
        ("x", "y"),
        ("…", None),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}),
    ],
)
def test_a_reply_that_is_not_as_shown_is_found(shown: Any, reply: Any) -> None:
    assert differences(shown, reply) != []
