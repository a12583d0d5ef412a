"""Soak: half an hour of traffic, after which memory, open files and the write-ahead log are where they were."""

import asyncio
import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.load import Traffic, prepare, report
from tests.running_server import RunningServer

SECONDS = float(os.environ.get("SOAK_SECONDS", "1800"))
"""Half an hour; `SOAK_SECONDS=300 python -m benchmarks soak` is a short one."""

CONNECTIONS = 8


def run() -> None:
    """Measure, and print what was measured."""
    with tempfile.TemporaryDirectory() as folder, RunningServer(Path(folder) / "data", workers=2) as server:
        prepare(server)
        traffic = Traffic(server, pause_seconds=0.2)
        asyncio.run(traffic.run(CONNECTIONS, SECONDS, look_seconds=max(1.0, SECONDS / 300)))
        report(traffic, SECONDS)
        fifth = len(traffic.usage) // 5
        for name in ("api_bytes", "worker_bytes", "files", "wal_bytes"):
            course = [
                statistics.median(getattr(usage, name) for usage in traffic.usage[start : start + fifth])
                for start in range(0, 5 * fifth, fifth)
            ]
            unit = 2**20 if name.endswith("bytes") else 1
            print(f"{name:12} by fifths: " + ", ".join(f"{value / unit:.1f}" for value in course))
        assert not traffic.faults, traffic.faults
        assert '"level":"error"' not in server.log.read_text()
