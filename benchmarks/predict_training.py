"""The latency of predictions while a job trains, on the cores that are left to it by default and on every core."""

import os
import tempfile
import time
from pathlib import Path

from benchmarks.latency import CONNECTIONS, Measured, measure
from benchmarks.predict import Running, loads, prepare

SECONDS = 4
SPEC = {"dataset": "pixels", "model": "softmax", "epochs": 1_000_000, "batch_size": 1024, "learning_rate": 0.01}
ASKED = ("1 × 2 in JSON", "1 × 784 in JSON", "256 × 784 bytes in NPY")


def run() -> None:
    """Measure with the threads that a worker has by default, and with as many as there are cores."""
    for threads in (None, os.cpu_count() or 1):
        with tempfile.TemporaryDirectory() as temporary:
            running = Running(Path(temporary), threads)
            try:
                prepare(running.client)
                _while_training(running, Path(temporary), f"{threads or 'default'} threads")
            finally:
                running.stop()


def _while_training(running: Running, folder: Path, name: str) -> None:
    chosen = [load for load in loads() if load.name in ASKED]
    quiet = [measure(running.url, load, SECONDS, folder) for load in chosen]
    job = running.client.post("/jobs", json=SPEC).json()
    time.sleep(1)
    began, first = time.perf_counter(), _epoch(running, job)
    busy = [measure(running.url, load, SECONDS, folder) for load in chosen]
    few = measure(running.url, chosen[0], SECONDS, folder, connections=1)
    asked = (_epoch(running, job) - first) / (time.perf_counter() - began)
    began, first = time.perf_counter(), _epoch(running, job)
    time.sleep(3)
    alone = (_epoch(running, job) - first) / (time.perf_counter() - began)
    running.client.post(f"/jobs/{job['id']}/cancel")
    for load, before, found in zip(chosen, quiet, busy, strict=True):
        print(f"{name}, {CONNECTIONS} connections, {load.name:24} alone {_told(before)}   training {_told(found)}")
    print(f"{name},  1 connection,  {chosen[0].name:24} training {_told(few)}   (wanted: p99 < 50 ms)")
    print(f"{name}, the training's epochs a second: {alone:.0f} alone, {asked:.0f} under that load")


def _told(found: Measured) -> str:
    return f"p50 {found.p50_ms:6.2f} ms, p99 {found.p99_ms:6.2f} ms"


def _epoch(running: Running, job: dict[str, str]) -> int:
    epoch: int = running.client.get(f"/jobs/{job['id']}").json()["progress"]["epoch"]
    return epoch
