"""How fast a CSV becomes a dataset, beside pyarrow's reader alone; and what a file larger than memory takes.

python -m benchmarks.ingest            Fashion-MNIST as a CSV of 133 MB: seconds, and the ratio
python -m benchmarks.ingest large      a CSV of 4 GB through a server: seconds, and the resident memory of its processes
python -m benchmarks.ingest matrix     shuffled minibatches from a mapped matrix: what stays resident
"""

import gzip
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from app.datasets.dataset import Dataset
from app.datasets.ingest import Choices, ingest
from app.datasets.readers import FORMATS
from app.datasets.readers.upload import Upload
from tests.running_server import RunningServer

FASHION = Path(os.environ.get("ONELAYER_FASHION_MNIST", "data/fashion-mnist"))
LARGE_BYTES = int(os.environ.get("ONELAYER_BENCH_BYTES", str(4 * 10**9)))
FEATURES = 20


def run() -> None:
    """All of it."""
    speed()
    large()
    matrix()


def speed() -> None:
    """Ingest against pyarrow, in turns in one process; the median of the pairs' ratios."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fashion.csv"
        write_fashion(path)
        ratios = []
        for turn in range(6):
            alone, whole = seconds(lambda: csv.read_csv(path)), seconds(lambda: ingested(path))
            if turn:  # the first one warms up
                ratios.append(whole / alone)
                print(f"pyarrow.csv.read_csv {alone:.2f} s, dataset with profile {whole:.2f} s: {whole / alone:.2f} ×")
        print(f"{path.stat().st_size / 1e6:.0f} MB: median {statistics.median(ratios):.2f} × (wanted: at most 2.5 ×)")


def large() -> None:
    """Upload, ingest and train one epoch, and watch the memory of the server's processes."""
    with tempfile.TemporaryDirectory() as folder:
        with RunningServer(Path(folder) / "data") as server, Watch(server) as watch:
            began = time.perf_counter()
            reply = server.client.post(
                "/datasets", params={"name": "large", "target": "y"}, content=generated(LARGE_BYTES),
                headers={"Content-Type": "text/csv"}, timeout=3600,
            )  # fmt: skip
            reply.raise_for_status()
            print(f"{LARGE_BYTES / 1e9:.1f} GB, {reply.json()['rows']:,} rows: a dataset in "
                  f"{time.perf_counter() - began:.0f} s (the time to generate it included)")  # fmt: skip
            spec = {"dataset": "large", "model": "linear", "epochs": 1}
            for name, options in (("given steps", {"batch_size": 256, "learning_rate": 0.01}), ("whitened", {})):
                began = time.perf_counter()
                job = server.client.post("/jobs", json=spec | options).json()
                while job["status"] in ("queued", "running"):
                    time.sleep(0.5)
                    job = server.client.get(f"/jobs/{job['id']}").json()
                loss = job["metrics"]["train_loss"]
                print(f"one epoch, {name}: {job['status']} in {time.perf_counter() - began:.0f} s, loss {loss:.3g} "
                      f"{job['error'] or ''}")  # fmt: skip
                print(f"    a worker: at most {watch.most['a worker'][0] / 1e6:.0f} MB resident until here")
        for name, (most, anonymous) in watch.most.items():
            print(f"{name}: at most {most / 1e6:.0f} MB resident, of which {anonymous / 1e6:.0f} MB its own "
                  "(the rest are pages of files)")  # fmt: skip


def matrix() -> None:
    """Gather shuffled minibatches from a mapped matrix, and look at what stays resident."""
    rows, width = 4_000_000, 50
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "matrix.npy"
        mapped = np.lib.format.open_memmap(path, "w+", np.float32, (rows, width))
        for start in range(0, rows, 100_000):
            mapped[start : start + 100_000] = np.random.default_rng(start).standard_normal((100_000, width))
        del mapped
        X = np.load(path, mmap_mode="r")
        before = resident(os.getpid())
        for chosen in np.array_split(np.random.default_rng(0).permutation(rows), rows // 256):
            X[chosen].sum()
        after = resident(os.getpid())
        print(f"{path.stat().st_size / 1e6:.0f} MB mapped: {(after[0] - before[0]) / 1e6:.0f} MB more resident, "
              f"of which {(after[1] - before[1]) / 1e6:.0f} MB its own")  # fmt: skip


def write_fashion(path: Path) -> None:
    """The training images of Fashion-MNIST, a column for each pixel."""
    pixels, labels = (unpacked(f"train-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1"))
    pixels, labels = pixels[16:], labels[8:]
    columns = np.ascontiguousarray(pixels.reshape(len(labels), -1).T)
    named = {f"pixel{number}": column for number, column in enumerate(columns, 1)}
    csv.write_csv(pa.table({"label": labels, **named}), path)


def unpacked(name: str) -> NDArray[np.uint8]:
    """The bytes of one of its files."""
    with gzip.open(FASHION / name) as file:
        return np.frombuffer(file.read(), np.uint8)


def ingested(path: Path) -> Dataset:
    """The CSV as a dataset in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        ingest(FORMATS[0].read(Upload({"file": path}, 1 << 40)), Path(folder), Choices())
        return Dataset.open(Path(folder))


def generated(size: int) -> Iterator[bytes]:
    """A CSV of about `size` bytes: numbers with six decimals, a category, and a target."""
    generator = np.random.default_rng(0)
    names = [f"x{number}" for number in range(1, FEATURES + 1)]
    yield (",".join([*names, "town", "y"]) + "\n").encode()
    X = generator.normal(size=(100_000, FEATURES)).round(6)
    towns = pa.array(generator.choice(["north", "south", "east", "west"], len(X)))
    sink = pa.BufferOutputStream()
    table = pa.table({**dict(zip(names, X.T, strict=True)), "town": towns, "y": (X.sum(axis=1) + 1).round(6)})
    csv.write_csv(table, sink, csv.WriteOptions(include_header=False, quoting_style="none"))
    block = sink.getvalue().to_pybytes()
    for _ in range(-(-size // len(block))):
        yield block


class Watch:
    """Samples the memory of a server's processes in a thread: the most of each role."""

    def __init__(self, server: RunningServer) -> None:
        assert server.process is not None
        self._root = server.process.pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.most: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for pid in tree(self._root):
                role = "the API process" if pid == self._root else "a worker"
                found = resident(pid)
                self.most[role] = max(self.most.get(role, (0, 0)), found)


def tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = dict(map(int, line.split()) for line in listed.splitlines())
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def resident(pid: int) -> tuple[int, int]:
    """Bytes of a process that are in memory, and those of them that are no pages of files."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS", "RssAnon"))}
    return sizes.get("VmRSS", 0), sizes.get("RssAnon", 0)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    {"large": large, "matrix": matrix}.get(sys.argv[1] if len(sys.argv) > 1 else "", speed)()
    print(f"this process: at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB resident")
