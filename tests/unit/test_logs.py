"""Logs: one form for every line."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from app import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The configuration of whoever runs the tests, afterwards."""
    handlers, configuration = logging.getLogger().handlers[:], structlog.get_config()
    yield
    logging.getLogger().handlers = handlers
    structlog.configure(**configuration)
    structlog.contextvars.clear_contextvars()


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_beside_a_terminal_every_line_is_json_with_the_ids_of_what_it_belongs_to(
    capsys: pytest.CaptureFixture[str],
):
    logs.configure("info")
    structlog.contextvars.bind_contextvars(request_id="r-1")

    structlog.get_logger().info("hello", job="j-1", number=2**80, bad="\ud800")

    (line,) = lines(capsys.readouterr().err)
    assert line["event"].strip("'") == "hello"  # type: ignore[attr-defined]
    assert "r-1" in str(line["request_id"])
    assert "j-1" in str(line["job"])


class Pieces(io.RawIOBase):
    """What the system is asked to write, each time at most so much."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.written.append(bytes(data[: self.most]))
        return len(self.written[-1])


@pytest.mark.parametrize("own", [True, False], ids=["own", "a library's"])
@pytest.mark.parametrize(("most", "pieces"), [(100_000, 1), (7000, 3)])
def test_a_line_is_written_in_one_piece_if_the_system_takes_it_so(
    own: bool, most: int, pieces: int, monkeypatch: pytest.MonkeyPatch
):
    system = Pieces(most)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(system), line_buffering=True))
    logs.configure("info", "json")

    (structlog.get_logger() if own else logging.getLogger("uvicorn")).error("long " * 4000)

    assert len(system.written) == pieces
    (line,) = lines(b"".join(system.written).decode())
    assert line["event"] == "long " * 4000


def test_an_exception_is_one_line_with_its_traceback(capsys: pytest.CaptureFixture[str]):
    logs.configure("info", "json")
    try:
        int("no such luck")
    except ValueError:
        structlog.get_logger().exception("it failed")

    (line,) = lines(capsys.readouterr().err)
    assert "ValueError: invalid literal" in str(line["exception"])


def test_the_lines_of_libraries_have_the_same_form_and_say_whose_they_are(capsys: pytest.CaptureFixture[str]):
    logs.configure("info", "json")
    logs.configure("info", "json")  # a second time adds nothing

    logging.getLogger("uvicorn.error").warning("Invalid HTTP request from %s.", "x", extra={"color_message": "c"})

    (line,) = lines(capsys.readouterr().err)
    assert line["event"] == "Invalid HTTP request from x."
    assert (line["logger"], line["level"]) == ("uvicorn.error", "warning")
    assert "color_message" not in line


def test_for_people_lines_are_no_json(capsys: pytest.CaptureFixture[str]):
    logs.configure("warning", "console")

    structlog.get_logger().info("too fine")
    structlog.get_logger().warning("hello", job="j-1")

    text = capsys.readouterr().err
    assert "hello" in text
    assert "j-1" in text
    assert "too fine" not in text
    assert "{" not in text
