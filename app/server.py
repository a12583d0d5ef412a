"""The server: uvicorn, with open streams and waiting requests told to end before it waits for them."""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from app import memory
from app.jobs.watch import Watch
from app.settings import Settings
from app.worker.launcher import Launcher

if TYPE_CHECKING:
    from app.problems import ProblemDocuments

GRACE_SECONDS = 3
SOURCE = Path(__file__).parent


class Server(uvicorn.Server):
    """Stops within seconds, because nobody is left waiting for a job when it begins to stop."""

    def __init__(self, config: uvicorn.Config, watch: Watch) -> None:
        super().__init__(config)
        self._watch = watch

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and then set aside what has been made so far, which stays."""
        await super().startup(sockets)
        memory.settle()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wake whoever waits, give the replies a moment, then stop as uvicorn does."""
        self._watch.stop()
        await asyncio.sleep(0)
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Run one API process, and its workers, until a signal."""
    prepare()
    workers = Launcher(settings)
    # They load torch while this process imports the rest.
    workers.start()
    from app.main import create_app

    run(create_app(settings, workers), settings)


def prepare() -> None:
    """What has to happen before NumPy and Arrow are imported."""
    memory.spare()
    memory.give_back()
    # A request's product is too small to gain by a second core, and loses much where others use that core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def run(app: "ProblemDocuments", settings: Settings) -> None:
    """Serve an application until a signal."""
    config = uvicorn.Config(app, **_options(settings))
    # uvicorn raises the signal anew once it has stopped; by then it has done its work, and the exit status is 0.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with suppress(KeyboardInterrupt):
        Server(config, app.api.state.services.watch).run()


def develop(settings: Settings) -> None:
    """Run as `serve` does, and start again whenever the code changes."""
    os.environ.update(settings.environment())
    uvicorn.run("app.main:create_app", factory=True, reload=True, reload_dirs=[str(SOURCE)], **_options(settings))


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "host": settings.host,
        "port": settings.port,
        "log_level": settings.log_level,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }
