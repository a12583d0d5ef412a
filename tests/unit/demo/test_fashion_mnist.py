import io
from pathlib import Path

import pytest
from rich.console import Console

from app.demo import download, fashion_mnist


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, and no network."""

    def unreachable(url: str, target: Path, size: int, sha256: str) -> None:
        raise download.Unavailable("no answer within 4 s")

    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv(fashion_mnist.CHOSEN_BY, raising=False)
    monkeypatch.setattr(download, "fetch", unreachable)


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def fill(folder: Path, *left_out: str) -> Path:
    folder.mkdir(parents=True)
    for file in fashion_mnist.FILES:
        if file.name not in left_out:
            (folder / file.name).touch()
    return folder


def test_the_folder_that_the_user_names_is_taken_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = fill(tmp_path / "chosen")
    fill(tmp_path / "work" / fashion_mnist.FOLDER)
    monkeypatch.setenv(fashion_mnist.CHOSEN_BY, str(chosen))

    assert fashion_mnist.find(console()) == chosen


def test_a_named_folder_that_lacks_a_file_is_told_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = fashion_mnist.FILES[3].name
    monkeypatch.setenv(fashion_mnist.CHOSEN_BY, str(fill(tmp_path / "chosen", lacking)))
    fill(tmp_path / "work" / fashion_mnist.FOLDER)
    told = console()

    assert fashion_mnist.find(told) == fashion_mnist.FOLDER
    assert f"lacks {lacking}." in said(told)


def test_the_usual_folder_needs_no_word(tmp_path: Path) -> None:
    fill(tmp_path / "work" / fashion_mnist.FOLDER)
    told = console()

    assert fashion_mnist.find(told) == fashion_mnist.FOLDER
    assert said(told) == ""


def test_only_the_files_that_are_missing_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = fashion_mnist.FILES[2]
    fill(tmp_path / "work" / fashion_mnist.FOLDER, lacking.name)
    fetched = []
    monkeypatch.setattr(download, "fetch", lambda *arguments: fetched.append(arguments))

    assert fashion_mnist.find(console()) == fashion_mnist.FOLDER
    target = fashion_mnist.FOLDER / lacking.name
    assert fetched == [(fashion_mnist.HOME + lacking.name, target, lacking.bytes, lacking.sha256)]


def test_without_files_and_network_there_is_no_folder_and_the_reason_is_told() -> None:
    told = console()

    assert fashion_mnist.find(told) is None
    assert f"Not available: no answer within 4 s. {fashion_mnist.CHOSEN_BY} may name a folder" in said(told)
