"""The server: uvicorn, with open streams and waiting requests told to end before it waits for them."""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from uvicorn.supervisors import ChangeReload

from app import grace, memory
from app.edge.connection import Connections, Patience, protocol
from app.edge.gate import Gate
from app.edge.listeners import url
from app.settings import Settings
from app.worker.launcher import Launcher

log = structlog.get_logger(__name__)

SOURCE = Path(__file__).parent
TICKS_A_SECOND = 10
"""How often uvicorn's main loop comes round."""

SPARE_FILES = 256
"""Open files that are no connections: the database, datasets, what is imported."""


class Server(uvicorn.Server):
    """Stops within seconds, because nobody is left waiting for a job when it begins to stop."""

    def __init__(self, config: uvicorn.Config, app: Gate) -> None:
        super().__init__(config)
        self._watch = app.api.state.services.watch
        self._connections = Connections(self.server_state, app.metrics)

    async def on_tick(self, counter: int) -> bool:
        """Once a second, look at the connections."""
        if counter % TICKS_A_SECOND == 0:
            self._connections.look(1.0)
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and then set aside what has been made so far, which stays."""
        await super().startup(sockets)
        memory.settle()
        if sockets:
            log.info("serving", url=url(self.config.host, sockets))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wake whoever waits, give the replies a moment, then stop as uvicorn does."""
        self._watch.stop()
        await asyncio.sleep(0)
        await super().shutdown(sockets)


def serve(settings: Settings, listeners: list[socket.socket]) -> None:
    """Run one API process, and its workers, until a signal."""
    prepare()
    workers = Launcher(settings)
    # They load torch while this process imports the rest.
    workers.start()
    from app.main import create_app

    run(create_app(settings, workers), settings, listeners)


def prepare() -> None:
    """What has to happen before NumPy and Arrow are imported."""
    memory.spare()
    memory.give_back()
    # A request's product is too small to gain by a second core, and loses much where others use that core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def run(app: Gate, settings: Settings, listeners: list[socket.socket]) -> None:
    """Serve an application until a signal."""
    patience = Patience(
        settings.slow_seconds, settings.body_rate, settings.request_seconds,
        connections=min(settings.connections_limit, _more_files() - SPARE_FILES),
    )  # fmt: skip
    config = uvicorn.Config(app, http=protocol(patience, app.metrics), **_options(settings))
    server = Server(config, app)
    # Before uvicorn takes the signal itself, it stops what has hardly begun. uvicorn raises it anew once it has
    # stopped; by then it has done its work, and the exit status is 0.
    signal.signal(signal.SIGTERM, server.handle_exit)
    with suppress(KeyboardInterrupt):
        server.run(listeners)


def develop(settings: Settings, listeners: list[socket.socket]) -> None:
    """Run as `serve` does, and start again whenever the code changes."""
    os.environ.update(settings.environment())
    log.info("serving", url=url(settings.host, listeners))
    config = uvicorn.Config(
        "app.main:create_app", factory=True, reload=True, reload_dirs=[str(SOURCE)], **_options(settings)
    )
    ChangeReload(config, target=uvicorn.Server(config).run, sockets=listeners).run()


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "host": settings.host,
        "log_config": None,
        "log_level": settings.log_level,
        "access_log": False,
        "server_header": False,
        # Anybody can write the headers of a proxy; a client is the address that it comes from.
        "proxy_headers": False,
        "ws": "none",
        "timeout_keep_alive": settings.keep_alive_seconds,
        "timeout_graceful_shutdown": grace.REPLIES_SECONDS,
    }


def _more_files() -> int:
    """Let this process open as many files as the system lets it; every connection is one. Returns how many."""
    try:
        import resource
    except ImportError:  # there is no such limit where this is missing
        return 2**20
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2**16 if hard == resource.RLIM_INFINITY else min(hard, 2**16)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)
