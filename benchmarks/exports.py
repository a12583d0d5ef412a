"""The exports of a model of Fashion-MNIST's shape: how large, how soon written, and ONNX beside /predict."""

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.predict import PIXELS, Running, npy, prepare

FORMATS = ("safetensors", "json", "npz", "onnx", "sql", "pmml")
ROWS = (1, 256, 4096)
SECONDS = 0.5


def run() -> None:
    """Export, and predict the same rows here and there."""
    with tempfile.TemporaryDirectory() as temporary:
        running = Running(Path(temporary))
        try:
            prepare(running.client)
            files = {form: _export(running, form) for form in FORMATS}
            for rows in ROWS:
                _beside_onnxruntime(running, files["onnx"], rows)
        finally:
            running.stop()


def _export(running: Running, form: str) -> bytes:
    """The best of some times: the first export of a kind may load its library."""
    times, content = [], b""
    for _ in range(5):
        began = time.perf_counter()
        reply = running.client.get("/models/pixels/export", params={"format": form})
        times.append(time.perf_counter() - began)
        assert reply.status_code == 200, reply.text
        content = reply.content
    print(f"{form:12} {len(content) / 1024:8.0f} KiB   first {times[0] * 1e3:8.1f} ms, then {min(times) * 1e3:8.1f} ms")
    return content


def _beside_onnxruntime(running: Running, model: bytes, rows: int) -> None:
    """The same rows by HTTP as NPY, and in this process by onnxruntime on one thread."""
    pixels = np.random.default_rng(0).integers(0, 256, (rows, PIXELS), np.uint8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    feed = {session.get_inputs()[0].name: pixels.reshape(rows, 28, 28).astype(np.float32)}
    headers = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
    address = {"model": "pixels", "outputs": "probabilities"}
    body = npy(pixels)

    def ask() -> Any:
        return running.client.post("/predict", params=address, content=body, headers=headers).content

    here, there = _seconds(lambda: session.run(None, feed)), _seconds(ask)
    said = np.asarray(session.run(["probabilities"], feed)[0])
    worst = np.abs(said - _array(ask())).max()
    print(
        f"{rows:5} rows: onnxruntime {here * 1e3:7.2f} ms, /predict with HTTP {there * 1e3:7.2f} ms, "
        f"{there / here:5.1f} × as long; probabilities differ by {worst:.0e} at most"
    )


def _seconds(work: Callable[[], Any]) -> float:
    """The median of what it takes, over half a second."""
    times, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 5:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def _array(content: bytes) -> Any:
    return np.load(io.BytesIO(content), allow_pickle=False)
