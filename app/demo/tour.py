"""The tour from start to end: `onelayer demo`."""

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.markup import escape

from app.demo import linear, softmax
from app.demo.client import Client
from app.demo.failure import DemoFailed
from app.demo.server import Server

INTERRUPTED = 130
TERMINATED = 143


def run() -> int:
    """Tell the whole story; return the exit status. What was started is stopped, however the story ends."""
    console = Console(highlight=False)
    try:
        with _stopped_in_order():
            _tell(console)
    except DemoFailed as failure:
        console.print(f"[red]The demo failed:[/] {escape(str(failure))}")
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; the server is stopped.")
        return INTERRUPTED
    return 0


def _tell(console: Console) -> None:
    console.print("Starting a server; the first start compiles the training loops ...")
    began = time.monotonic()
    with Server() as server, Client(server.url) as client:
        seconds = time.monotonic() - began
        console.print(f"Ready at {server.url} after {seconds:.1f} s.")
        linear.tell(client, console)
        softmax.tell(client, console)
    command = "onelayer" if shutil.which("onelayer") else ".venv/bin/onelayer"
    console.print(f"\nThe server is stopped. Start one that stays: [bold]{command} serve[/]")


@contextmanager
def _stopped_in_order() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that the server is stopped then too."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
