"""One file from the network: whole and as expected, or not at all."""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

PATIENCE_SECONDS = 4.0
TIMEOUT = httpx.Timeout(PATIENCE_SECONDS)


class Unavailable(Exception):
    """The file cannot be had; the text says why."""


def fetch(url: str, target: Path, size: int, sha256: str) -> None:
    """Download a file and check its size and content; only a complete file gets its name."""
    if not _answers(url):
        raise Unavailable(f"no answer within {PATIENCE_SECONDS:.0f} s")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _aside(target) as aside:
            if _save(url, aside, size) != (size, sha256):
                raise Unavailable(f"what {url} sends is not the file that was published")
            aside.replace(target)
    except (httpx.HTTPError, OSError) as error:
        raise Unavailable(f"{url}: {error}") from error


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A name beside a file, free again at the end whatever happened."""
    aside = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        yield aside
    finally:
        aside.unlink(missing_ok=True)


def _answers(url: str) -> bool:
    """Whether the server answers soon, asked in a thread because looking up a name has no time limit."""
    answered = threading.Event()

    def ask() -> None:
        try:
            httpx.head(url, timeout=TIMEOUT)
        except httpx.HTTPError:
            return
        answered.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE_SECONDS)
    return answered.is_set()


def _save(url: str, target: Path, size: int) -> tuple[int, str]:
    """Stream a body to a file, no further than just past `size` bytes; how many came, and their sha256."""
    digest, received = hashlib.sha256(), 0
    with httpx.stream("GET", url, timeout=TIMEOUT) as response, target.open("wb") as file:
        response.raise_for_status()
        for block in response.iter_raw():
            received += len(block)
            digest.update(block)
            file.write(block)
            if received > size:
                break
    return received, digest.hexdigest()
