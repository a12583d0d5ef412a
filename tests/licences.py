"""The licences of what runs: read from what is installed, kept in docs/licences.md. `make licences` writes it anew."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "docs" / "licences.md"
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-torch.lock")

ELSEWHERE = {"colorama": "BSD-3-Clause", "tzdata": "Apache-2.0"}
"""Packages that some platforms or Pythons alone need, so that they may not be installed where the list is made."""

WELCOME = re.compile(
    r"MIT|BSD|Apache|PSF|Python Software|ISC|MPL-2\.0|Mozilla|HPND|Unlicense|Zlib|CC0|Historical|LGPL", re.IGNORECASE
)
"""Licences under which software may be passed on with ours: MPL and LGPL too, since nothing of theirs is changed."""

_HEAD = """# Licences

What `onelayer` installs to run, with the licence that each package states. `make licences` writes this list from what
is installed; a test compares it with `requirements.lock`. CUDA builds of PyTorch bring NVIDIA's libraries along, under
NVIDIA's own licence.

| package | version | licence |
|---|---|---|
"""


def pinned() -> dict[str, str]:
    """Every package that is locked, with its version."""
    text = "\n".join(lock.read_text() for lock in LOCKS)
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==([^\s;]+)", text, re.MULTILINE))


def licence(name: str) -> str | None:
    """What an installed package states, as an expression where it has one; None if it is not installed."""
    try:
        about = distribution(name).metadata
    except PackageNotFoundError:
        return ELSEWHERE.get(name)
    if expression := about.get("License-Expression"):
        return str(expression)
    classes = [line.rsplit(" :: ", 1)[1] for line in about.get_all("Classifier") or () if line.startswith("License ::")]
    stated = str(about.get("License") or "").strip().splitlines()
    return " AND ".join(classes) or (stated[0] if stated else "") or "not stated"


def lines() -> list[str]:
    """The rows of the list."""
    found = sorted(pinned().items())
    return [f"| {name} | {version} | {licence(name) or 'not installed here'} |" for name, version in found]


def write() -> None:
    """Write the list."""
    LIST.write_text(_HEAD + "\n".join(lines()) + "\n")


if __name__ == "__main__":
    write()
