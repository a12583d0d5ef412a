"""Logs: structured lines on standard error; for people on a terminal, JSON elsewhere.

What happens while a request is answered carries its `request_id`, what a worker does for a job its `job`. Lines of the
libraries go through the same rendering, so that every line of a log can be read by the same program.
"""

import logging
import sys
from contextlib import suppress
from io import RawIOBase
from typing import Any

import orjson
import structlog
from structlog.typing import Processor

TERMINAL, JSON = "console", "json"


class _Patient:
    """Standard error; a line that cannot be written, on a full disk say, is lost, and nothing else is.

    A line is one write to the system, however long: several processes have the same standard error, and what is
    written in pieces would be mixed.
    """

    def write(self, text: str) -> None:
        with suppress(OSError):
            raw = getattr(getattr(sys.stderr, "buffer", None), "raw", None)
            if raw is None:  # something else is in its place
                sys.stderr.write(text)
            else:
                self._write_whole(raw, text.encode(errors="backslashreplace"))

    def _write_whole(self, raw: RawIOBase, line: bytes) -> None:
        sys.stderr.flush()
        while line and (written := raw.write(line)):
            line = line[written:]

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def configure(level: str, form: str = "auto") -> None:
    """Set up logging once for this process: structlog's, and that of the libraries."""
    console = form == TERMINAL or (form == "auto" and sys.stderr.isatty())
    preparing: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    )
    structlog.configure(
        processors=[*preparing, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(_Patient()),  # type: ignore[arg-type]
    )
    _take_over([structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering], preparing)


class _Foreign(logging.StreamHandler[_Patient]):
    """Renders the lines of the libraries as our own."""


def _take_over(rendering: list[Processor], preparing: list[Processor]) -> None:
    root = logging.getLogger()
    handler = _Foreign(_Patient())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=rendering, foreign_pre_chain=[_name, *preparing])
    )
    root.handlers = [handler, *(other for other in root.handlers if not isinstance(other, _Foreign))]


def _name(_logger: Any, _method: str, event: Any) -> Any:
    """Say which library it was, and drop what uvicorn adds for terminals."""
    event["logger"] = event["_record"].name
    event.pop("color_message", None)
    return event


def _json(event: Any, **_options: Any) -> str:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # a number beyond 64 bits, or text that is no text
        return orjson.dumps({name: repr(value) for name, value in event.items()}).decode()
