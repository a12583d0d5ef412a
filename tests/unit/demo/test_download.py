import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.demo import download

URL = "http://home.example/file.gz"
BODY = b"the published bytes"
SHA256 = hashlib.sha256(BODY).hexdigest()

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Puts a server in the network's place."""

    def serve(answer: Answer) -> None:
        client = httpx.Client(transport=httpx.MockTransport(answer))
        monkeypatch.setattr(httpx, "head", lambda url, timeout: client.head(url))
        monkeypatch.setattr(httpx, "stream", lambda method, url, timeout: client.stream(method, url))

    return serve


def sends(body: bytes, status: int = 200) -> Answer:
    return lambda request: httpx.Response(status, stream=httpx.ByteStream(body))


def test_the_published_file_is_saved_under_its_name(home: Callable[[Answer], None], tmp_path: Path) -> None:
    home(sends(BODY))
    target = tmp_path / "new" / "file.gz"

    download.fetch(URL, target, len(BODY), SHA256)

    assert target.read_bytes() == BODY
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    "answer",
    [
        sends(BODY[:-1]),
        sends(BODY + b"and more"),
        sends(b"other bytes, as many"[: len(BODY)]),
        sends(b"", status=404),
    ],
    ids=["too short", "too long", "other content", "not found"],
)
def test_any_other_file_is_refused_and_nothing_stays(
    answer: Answer, home: Callable[[Answer], None], tmp_path: Path
) -> None:
    home(answer)

    with pytest.raises(download.Unavailable, match=URL):
        download.fetch(URL, tmp_path / "file.gz", len(BODY), SHA256)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_reason(home: Callable[[Answer], None], tmp_path: Path) -> None:
    home(sends(BODY))
    (tmp_path / "taken").write_text("a file where a folder is needed")

    with pytest.raises(download.Unavailable, match="taken"):
        download.fetch(URL, tmp_path / "taken" / "file.gz", len(BODY), SHA256)


def test_a_refused_connection_is_no_answer(home: Callable[[Answer], None], tmp_path: Path) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    home(refuse)

    with pytest.raises(download.Unavailable, match="no answer"):
        download.fetch(URL, tmp_path / "file.gz", len(BODY), SHA256)


def test_a_network_that_says_nothing_is_given_up(
    home: Callable[[Answer], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up, answers = threading.Event(), []

    def hang(request: httpx.Request) -> httpx.Response:
        answers.append(given_up.wait(60))
        return httpx.Response(200)

    home(hang)
    monkeypatch.setattr(download, "PATIENCE_SECONDS", 0.05)

    with pytest.raises(download.Unavailable, match="no answer"):
        download.fetch(URL, tmp_path / "file.gz", len(BODY), SHA256)

    assert answers == []
    given_up.set()
