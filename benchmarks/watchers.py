"""Two hundred watchers of one job: every epoch once and in order, and what they cost the API process."""

import asyncio
import os
import re
import tempfile
import time
from pathlib import Path

from tests.running_server import RunningServer

WATCHERS = 200
RETURNING = 20
EPOCHS = 1200
LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 1_000_000, "noise_std": 0.01, "seed": 0}
SPEC = {"model": "linear", "epochs": EPOCHS, "batch_size": 10, "learning_rate": 1e-4}

_ID = re.compile(rb"^id: (\d+)(\.over)?$", re.MULTILINE)


def run() -> None:
    """Watch a job with all of them at once, some of which lose their connection and come back."""
    with tempfile.TemporaryDirectory() as folder, RunningServer(Path(folder) / "data") as server:
        dataset = server.create_dataset(LINE)["id"]
        job = server.client.post("/jobs", json={"dataset": dataset, **SPEC}).json()["id"]
        assert server.process is not None
        began, before = time.perf_counter(), cpu_seconds(server.process.pid)
        asyncio.run(watch_all(server.port, job))
        seconds, used = time.perf_counter() - began, cpu_seconds(server.process.pid) - before
        print(
            f"{WATCHERS} watchers, {EPOCHS} epochs in {seconds:.1f} s: all seen once and in order ({RETURNING} of them "
            f"came back again and again); the API process took {used / seconds:.0%} of a core"
        )


async def watch_all(port: int, job: str) -> None:
    """All watchers side by side."""
    seen = await asyncio.gather(*(watch(port, job, returning=number < RETURNING) for number in range(WATCHERS)))
    assert all(epochs == list(range(1, EPOCHS + 1)) for epochs in seen), [len(epochs) for epochs in seen]


async def watch(port: int, job: str, returning: bool) -> list[int]:
    """The epochs that one watcher sees, over one connection or several."""
    seen: list[int] = []
    last = b""
    while not last.endswith(b".over"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        header = b"Last-Event-ID: %b\r\n" % last if last else b""
        writer.write(b"GET /jobs/%b/events HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (job.encode(), header))
        rest, stop_at = b"", len(seen) + 200 if returning else EPOCHS + 1
        while len(seen) < stop_at and (data := await reader.read(1 << 16)):
            # Whole events alone; the lines in between are the lengths of the chunks.
            whole, _, rest = (rest + data).rpartition(b"\n\n")
            for number, over in _ID.findall(whole + b"\n"):
                last = number + over
                if not over:
                    seen.append(int(number))
            if last.endswith(b".over"):
                break
        writer.close()
    return seen


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
