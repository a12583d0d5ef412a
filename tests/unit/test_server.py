"""The server's start: what has to happen before NumPy is there, and after everything is."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from app.server import _options
from app.settings import Settings

PREPARED = """
import os, sys
from app import server
assert not {"numpy", "pyarrow"} & set(sys.modules), "too late"
server.prepare()
import numpy
matrix = numpy.ones((800, 800))
matrix @ matrix
print(len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1)
"""
SETTLED = """
import gc
from app import memory
made = [[] for _ in range(1000)]
memory.settle()
print(gc.get_freeze_count() > 1000, gc.get_count()[2])
"""
STOPPED_EARLY = """
import os, signal, sys
import uvicorn
from app import main, server
from app.__main__ import main as command

when = sys.argv.pop()
where, name = (main, "create_app") if when == "while it is made" else (uvicorn.Server, "run")
go_on = getattr(where, name)

def stopped(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    return go_on(*arguments)

setattr(where, name, stopped)
command(["serve", "--port", "0", "--workers", "0"])
"""


def said(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_products_of_the_server_take_one_thread() -> None:
    assert said(PREPARED) == "1"


def test_what_the_start_has_made_is_no_longer_looked_through_for_garbage() -> None:
    assert said(SETTLED) == "True 0"


def test_an_idle_connection_outlives_that_of_a_proxy_in_front() -> None:
    assert uvicorn.Config("app", **_options(Settings())).timeout_keep_alive == 75
    assert uvicorn.Config("app", **_options(Settings(keep_alive_seconds=7))).timeout_keep_alive == 7


@pytest.mark.parametrize("when", ["while it is made", "before uvicorn takes signals"])
def test_a_signal_to_stop_that_comes_early_stops_the_server(tmp_path: Path, when: str) -> None:
    environment = {**os.environ, "ONELAYER_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", STOPPED_EARLY, when]

    subprocess.run(command, env=environment, check=True, timeout=60)


def test_a_client_is_the_address_it_comes_from_whatever_its_headers_say() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def nothing(*_: Message) -> Message:
        return {}

    config = uvicorn.Config(app, **_options(Settings()))
    config.load()
    headers = [(b"x-forwarded-for", b"10.0.0.1"), (b"x-forwarded-proto", b"https")]
    scope = {"type": "http", "scheme": "http", "client": ("127.0.0.1", 9), "headers": headers}
    asyncio.run(config.loaded_app(scope, nothing, nothing))

    assert [(one["client"][0], one["scheme"]) for one in seen] == [("127.0.0.1", "http")]
