"""A batch prediction over a 2 GB table: how long it takes, and how much memory the worker and the API process need."""

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.running_server import RunningServer

FEATURES = 20
GROUPS, GROUP_ROWS = 100, 131_072
WEIGHTS = [float(i % 5 - 2) for i in range(FEATURES)]


def run() -> None:
    """Upload, predict, download, and say what it took."""
    with tempfile.TemporaryDirectory() as folder, RunningServer(Path(folder) / "data") as server:
        server.create_dataset(
            {"type": "synthetic_linear", "weights": WEIGHTS, "bias": 1.0, "rows": 2000}, name="small"
        )  # fmt: skip
        server.train(dataset="small", model="linear", model_name="wide", epochs=5)
        table = Path(folder) / "table.parquet"
        _write(table)
        print(f"table: {GROUPS * GROUP_ROWS} rows, {table.stat().st_size / 2**30:.2f} GiB")
        with table.open("rb") as body:
            kind = {"Content-Type": "application/vnd.apache.parquet"}
            made = server.client.post("/datasets?name=large", content=body, headers=kind, timeout=600)
        assert made.status_code == 201, made.text
        table.unlink()
        before = _processes(server)
        began = time.perf_counter()
        job = server.client.post("/models/wide/predictions", json={"dataset": "large", "outputs": ["interval"]}).json()
        while job["status"] in ("queued", "running"):
            time.sleep(0.2)
            job = server.client.get(f"/jobs/{job['id']}").json()
        assert job["status"] == "succeeded", job
        print(f"predicted in {time.perf_counter() - began:.1f} s")
        began, size = time.perf_counter(), 0
        with server.client.stream("GET", f"/jobs/{job['id']}/predictions?format=csv") as reply:
            for chunk in reply.iter_bytes():
                size += len(chunk)
        print(f"downloaded {size / 2**30:.2f} GiB of CSV in {time.perf_counter() - began:.1f} s")
        for name, (pid, old) in before.items():
            print(f"{name}: peak {_peak(pid):.0f} MiB resident, {old:.0f} MiB before")


def _write(path: Path) -> None:
    generator = np.random.default_rng(0)
    names = [f"x{i + 1}" for i in range(FEATURES)]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with pq.ParquetWriter(path, schema, use_dictionary=False, compression="none") as writer:
        for _ in range(GROUPS):
            writer.write_table(pa.table({name: generator.normal(size=GROUP_ROWS) for name in names}, schema))


def _processes(server: RunningServer) -> dict[str, tuple[int, float]]:
    """The API process and the worker, with the peak of their memory so far, which is set back on the way."""
    assert server.process is not None
    api = server.process.pid
    supervisor = _children(api)[0]
    found = {"API process": api, "worker": _children(supervisor)[-1]}
    for pid in found.values():
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    return {name: (pid, _peak(pid)) for name, pid in found.items()}


def _children(pid: int) -> list[int]:
    return sorted(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def _peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    run()
