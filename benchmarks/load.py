"""Load: 64 connections of mixed traffic for a minute while two workers train; and what it does to memory."""

import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.running_server import RunningServer

CONNECTIONS = 64
SECONDS = 60.0
PAUSE_SECONDS = 0.1
"""Clients think for up to so long between two requests."""

LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 5000, "noise_std": 0.01, "seed": 0}
JOB = {"dataset": "line", "model": "linear", "epochs": 100, "batch_size": 10, "learning_rate": 0.03}
PREDICT = json.dumps({"model": "line", "instances": [[1.0, 2.0]]}).encode()
TABLE = b"x,y\n" + b"".join(b"%d,%d\n" % (number, 2 * number) for number in range(200))
MIX = ["predict"] * 70 + ["poll"] * 18 + ["submit"] * 2 + ["upload"] * 5 + ["list"] * 5
FINE = {200, 201, 202, 204}


@dataclass
class Usage:
    """What the server uses at one moment."""

    api_bytes: int
    worker_bytes: int
    files: int
    wal_bytes: int


@dataclass
class Traffic:
    """Clients that send what clients send, and what became of it."""

    server: RunningServer
    pause_seconds: float = PAUSE_SECONDS
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    usage: list[Usage] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)

    async def run(self, connections: int, seconds: float, look_seconds: float = 1.0) -> None:
        """Let them work."""
        self.end = time.monotonic() + seconds
        await asyncio.gather(self._look(look_seconds), *(self._client(number) for number in range(connections)))

    async def _look(self, every_seconds: float) -> None:
        while time.monotonic() < self.end:
            self.usage.append(await asyncio.to_thread(used, self.server))
            await asyncio.sleep(every_seconds)

    async def _client(self, number: int) -> None:
        chance = random.Random(number)
        connection = Connection(self.server.port)
        while time.monotonic() < self.end:
            kind = chance.choice(MIX)
            began = time.perf_counter()
            status, body = await self._do(kind, connection, chance)
            self.seconds[kind].append(time.perf_counter() - began)
            self.statuses[kind, status] += 1
            if kind == "upload" and status == 201:
                await connection.send("DELETE", f"/datasets/{json.loads(body)['id']}")
            await asyncio.sleep(chance.uniform(0, self.pause_seconds))
        connection.close()

    async def _do(self, kind: str, connection: "Connection", chance: random.Random) -> tuple[int, bytes]:
        if kind == "predict":
            return await connection.send("POST", "/predict", PREDICT)
        if kind == "upload":
            return await connection.send("POST", "/datasets", TABLE, "text/csv")
        if kind == "submit":
            status, body = await connection.send("POST", "/jobs", json.dumps(JOB).encode())
            if status == 202:
                self.jobs.append(json.loads(body)["id"])
            return status, body
        if kind == "poll" and self.jobs:
            return await connection.send("GET", f"/jobs/{chance.choice(self.jobs[-50:])}")
        return await connection.send("GET", "/jobs?limit=10")

    @property
    def faults(self) -> dict[tuple[str, int], int]:
        """Replies that are neither as wished nor 429."""
        return {key: count for key, count in self.statuses.items() if key[1] not in FINE | {429}}


class Connection:
    """One kept-alive connection; lighter than a whole client, so that it measures the server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(
        self, method: str, path: str, body: bytes = b"", media_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Status and body of the reply; again on a new connection if the server has closed an idle one."""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        head += f"Content-Type: {media_type}\r\n\r\n" if body else "\r\n"
        try:
            return await self._exchange(head.encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.close()
            return await self._exchange(head.encode() + body)

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return int(head[9:12]), await reader.readexactly(int(length or 0))

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def run() -> None:
    """Measure, and print what was measured."""
    with tempfile.TemporaryDirectory() as folder, RunningServer(Path(folder) / "data", workers=2) as server:
        prepare(server)
        traffic = Traffic(server)
        asyncio.run(traffic.run(CONNECTIONS, SECONDS))
        report(traffic, SECONDS)
        assert not traffic.faults, traffic.faults
        assert '"level":"error"' not in server.log.read_text()


def prepare(server: RunningServer) -> None:
    """A model to ask, and jobs enough to keep the workers busy."""
    server.create_dataset(LINE, name="line")
    server.train(**{**JOB, "epochs": 3}, model_name="line")
    for _ in range(200):
        assert server.client.post("/jobs", json=JOB).status_code == 202


def report(traffic: Traffic, seconds: float) -> None:
    """Print how long requests took and what the server used."""
    total = sum(traffic.statuses.values())
    refused = sum(count for (_, status), count in traffic.statuses.items() if status == 429)
    print(f"{total / seconds:.0f} requests a second; {refused} were told to wait; faults: {traffic.faults or 'none'}")
    for kind, found in sorted(traffic.seconds.items()):
        at = statistics.quantiles(found, n=100)
        print(f"{kind:8} {len(found):7}: p50 {at[49] * 1e3:6.1f} ms, p99 {at[98] * 1e3:6.1f} ms")
    third = max(1, len(traffic.usage) // 3)
    for name in ("api_bytes", "worker_bytes", "files", "wal_bytes"):
        early, late = (
            statistics.median(getattr(usage, name) for usage in part)
            for part in (traffic.usage[third : 2 * third], traffic.usage[-third:])
        )
        unit, of = (2**20, "MiB") if name.endswith("bytes") else (1, "")
        print(
            f"{name:12}: {early / unit:.1f} {of} in the middle, {late / unit:.1f} {of} at the end, x {late / early:.3f}"
        )


def used(server: RunningServer) -> Usage:
    """What the server uses now."""
    assert server.process is not None
    lines = dict(
        line.rsplit(" ", 1) for line in server.client.get("/metrics").text.splitlines() if not line.startswith("#")
    )
    page: Any = os.sysconf("SC_PAGE_SIZE")
    return Usage(
        api_bytes=int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * page,
        worker_bytes=int(float(lines["onelayer_worker_memory_bytes"])),
        files=len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())),
        wal_bytes=int(float(lines['onelayer_database_bytes{file="wal"}'])),
    )
