"""The service from outside: start, a small job, and Fashion-MNIST from upload to prediction."""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.running_server import RunningServer

PARTS = {
    "images": "train-images-idx3-ubyte.gz",
    "labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
LINE = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 1000, "noise_std": 0.01, "seed": 0}


def run() -> None:
    """Measure, and print what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        server = RunningServer(Path(folder) / "data")
        server.start()  # the first start may have to compile
        server.stop()
        print(f"start until /readyz is 200      {seconds(server.start):8.2f} s")
        try:
            small_jobs(server)
            fashion_mnist(server)
            sweep(server)
        finally:
            print(f"SIGTERM until everything ended  {seconds(server.stop):8.2f} s")
            server.client.close()


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def small_jobs(server: RunningServer) -> None:
    """POST /jobs of the first linear experiment with Prefer: wait=10, on a warm worker."""
    dataset = server.create_dataset(LINE)
    spec = {"dataset": dataset["id"], "model": "linear", "epochs": 3, "batch_size": 10, "learning_rate": 0.03}
    times = [seconds(lambda: server.train(wait=10, **spec)) * 1e3 for _ in range(40)][-20:]
    median, slowest = statistics.median(times), max(times)
    print(f"POST /jobs of 1000 x 2, waited  {median:8.1f} ms median of 20 (slowest {slowest:.1f} ms)")


def fashion_mnist(server: RunningServer) -> None:
    """Upload, ten epochs, 200 predictions."""
    folder = Path(os.environ.get("ONELAYER_FASHION_MNIST", "data/fashion-mnist"))
    if not folder.is_dir():
        print(f"Fashion-MNIST is not in {folder}; set ONELAYER_FASHION_MNIST")
        return
    began = time.perf_counter()
    upload = seconds(lambda: send(server, folder))
    job: dict[str, Any] = {}
    spec = {"dataset": "fashion", "model": "softmax", "batch_size": 256, "learning_rate": 0.1, "epochs": 10}
    trained = seconds(lambda: job.update(server.train(**spec, model_name="fashion")))
    predicted = seconds(lambda: predict(server))
    epochs = sum(epoch["seconds"] for epoch in server.history(job))
    print(f"Fashion-MNIST, all told         {time.perf_counter() - began:8.2f} s")
    print(f"  upload {upload:.2f} s, job {trained:.2f} s (its ten epochs {epochs:.2f} s), predict {predicted:.2f} s")
    print(f"  {job['metrics']}")


def sweep(server: RunningServer) -> None:
    """A sweep of sixteen rates, and sixteen jobs."""
    if server.client.get("/datasets/fashion").status_code != 200:
        return
    spec = {"dataset": "fashion", "model": "softmax", "batch_size": 256, "epochs": 3}
    rates = [0.01 * 1.2**power for power in range(16)]
    together = seconds(lambda: server.train(**spec, sweep={"learning_rate": rates}))
    alone = seconds(lambda: [server.train(**spec, learning_rate=rate) for rate in rates])
    print(f"a sweep of 16 rates, 3 epochs   {together:8.2f} s, 16 jobs {alone:.2f} s: {together / alone:.2f} of that")


def send(server: RunningServer, folder: Path) -> None:
    """Upload the four files."""
    files = {part: (name, (folder / name).read_bytes()) for part, name in PARTS.items()}
    reply = server.client.post(
        "/datasets", files=files, data={"name": "fashion", "class_names": json.dumps(list("abcdefghij"))}
    )
    assert reply.status_code == 201, reply.text


def predict(server: RunningServer) -> None:
    """Predict the first 200 test images."""
    rows = server.client.get("/datasets/fashion/rows", params={"split": "test", "limit": 200}).json()["items"]
    reply = server.client.post("/predict", json={"model": "fashion", "instances": [row["image"] for row in rows]})
    assert reply.status_code == 200, reply.text
