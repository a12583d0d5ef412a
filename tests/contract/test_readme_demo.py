"""`make demo` as the README promises it: the command itself, on a server that it starts and stops."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.patience import until

DEMO = [sys.executable, "-m", "app", "demo"]
ROOT = Path(__file__).resolve().parents[2]

# A proxy that nobody listens to: the public home of Fashion-MNIST is out of reach, whatever network there is.
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONELAYER_")}
    cache = os.environ.get("ONELAYER_CACHE_DIR")
    return kept | ({"ONELAYER_CACHE_DIR": cache} if cache else {}) | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | more


def tell(folder: Path, **more: str) -> str:
    done = subprocess.run(
        DEMO, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listening(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@contextmanager
def started(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A demo whose server is ready, and the address of that server."""
    # What a shell starts in the background ignores SIGINT, and so would all that it starts itself.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    demo = subprocess.Popen(
        DEMO,
        cwd=folder,
        env=environment(**NO_NETWORK),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    try:
        assert demo.stdout is not None
        ready = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+", line) for line in demo.stdout)))
        yield demo, ready[0]
    finally:
        demo.kill()
        demo.communicate()


def test_the_demo_trains_both_models_and_shows_what_they_learned(real_data: Path, tmp_path: Path) -> None:
    story = tell(tmp_path, ONELAYER_FASHION_MNIST=str(real_data / "fashion-mnist"))

    losses = [float(loss) for loss in re.findall(r"^ +[123] +(\d\.\d+)$", story, re.MULTILINE)]
    differences = [float(found) for found in re.findall(r"([+-]0\.\d{5}) ", story)]
    (accuracy,) = re.findall(r"Test accuracy: (\d\.\d+)", story)
    assert len(losses) == 3
    assert losses[2] < 1e-4 < losses[0]
    assert len(differences) == 3
    assert max(map(abs, differences)) < 2e-3
    assert float(accuracy) > 0.81
    assert len(re.findall(r"\b(?:right|wrong)\b", story)) == 10
    assert "10/10" in story
    assert "ankle boot" in story


def test_the_demo_does_without_fashion_mnist_where_there_is_no_network(tmp_path: Path) -> None:
    story = tell(tmp_path, **NO_NETWORK)

    assert "Not available" in story
    assert "Synthetic data takes its place" in story
    assert len(re.findall(r"\b(?:right|wrong)\b", story)) == 10
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_demo_that_is_stopped_takes_its_server_along(tmp_path: Path, sent: signal.Signals, status: int) -> None:
    with started(tmp_path) as (demo, url):
        assert listening(url)
        demo.send_signal(sent)
        assert demo.wait(60) == status
        until(lambda: not listening(url))
