"""The queue: a small job from request to reply, a thousand queued jobs, a crowd of clients."""

import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from app.database import Database
from app.jobs.queue import Order, Queue
from app.jobs.roster import Roster
from app.migrate import migrate
from tests.crowd import SPEC, Crowd
from tests.running_server import RunningServer

LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 1000, "noise_std": 0.01, "seed": 0}
QUEUED = 1000
CROWD_SECONDS = 60


def run() -> None:
    """Measure, and print what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        claims(Path(folder))
        with RunningServer(Path(folder) / "one") as server:
            latency(server)
            thousand(server)
        with RunningServer(Path(folder) / "two", workers=2) as server:
            crowd = Crowd(server, server.create_dataset(LINE)["id"])
            crowd.run(CROWD_SECONDS)
            print(f"8 clients, 2 workers, {CROWD_SECONDS} s: {crowd.check()}")


def claims(folder: Path) -> None:
    """How long a claim takes while a thousand jobs wait."""
    database = Database(f"sqlite:///{folder / 'claims.db'}")
    migrate(database)
    queue = Queue(database, Roster(database, 60), 60, 3, 2 * QUEUED)
    jobs = [queue.submit(Order({}, "linear", None, None, 3, "auto"))[0].id for _ in range(QUEUED)]
    times, order = [], []
    for _ in range(QUEUED):
        began = time.perf_counter()
        job = queue.claim("worker", ["cpu"])
        times.append(time.perf_counter() - began)
        assert job is not None
        order.append(job.id)
    assert order == jobs
    slow = sorted(times)[int(0.99 * QUEUED)]
    print(
        f"claim, {QUEUED} jobs queued: {statistics.median(times) * 1e3:.2f} ms median, 99 % under {slow * 1e3:.2f} ms"
    )


def latency(server: RunningServer) -> None:
    """POST /jobs of the 1000 x 2 experiment with Prefer: wait=10, warm."""
    spec = {"dataset": server.create_dataset(LINE)["id"], **SPEC}
    times = []
    for _ in range(220):
        began = time.perf_counter()
        server.train(wait=10, **spec)
        times.append(time.perf_counter() - began)
    found = sorted(times[20:])
    print(
        f"POST /jobs of 1000 x 2, waited: {statistics.median(found) * 1e3:.1f} ms median of 200, "
        f"{found[0] * 1e3:.1f} ms least, {found[180] * 1e3:.1f} ms at 90 %"
    )


def thousand(server: RunningServer) -> None:
    """A thousand jobs at once: all end, in the order of their coming."""
    spec = {"dataset": server.create_dataset(LINE)["id"], **SPEC}
    blocker = server.client.post("/jobs", json={**spec, "epochs": 1_000_000}).json()["id"]
    jobs = [server.client.post("/jobs", json=spec).json()["id"] for _ in range(QUEUED)]
    server.client.post(f"/jobs/{blocker}/cancel")
    began = time.perf_counter()
    found = [server.client.get(f"/jobs/{job}", headers={"Prefer": "wait=60"}).json() for job in jobs]
    seconds = time.perf_counter() - began
    assert {job["status"] for job in found} == {"succeeded"}
    starts = [datetime.fromisoformat(job["started_at"]) for job in found]
    assert starts == sorted(starts)
    print(f"{QUEUED} jobs queued at once: all succeeded, in order, {QUEUED / seconds:.0f} a second")
