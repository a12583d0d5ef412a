"""Predictions a second on one API process, beside routes that do nothing, in one run: ratios, not absolute figures.

The routes to compare with stand in the same process behind the same middleware. The figure of a route is its best of
some rounds.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from app import server
from app.edge.listeners import listen
from app.main import create_app
from app.settings import Settings
from benchmarks.latency import Load, Measured, measure

SECONDS = 2
ROUNDS = 2
LINE = {"type": "synthetic_linear", "weights": [2.0, -3.4], "bias": 4.2, "rows": 1000}
PIXELS = 784
JSON = "application/json"


def application(settings: Settings) -> Any:
    """The service, and beside its routes some to compare with."""
    app = create_app(settings)

    @app.api.post("/noop")
    async def noop(request: Request) -> Response:
        """Nothing: a fixed reply."""
        return Response(b"{}", media_type=JSON)

    @app.api.post("/noop-body")
    async def noop_body(request: Request) -> Response:
        """Nothing but receiving the body."""
        await request.body()
        return Response(b"{}", media_type=JSON)

    from pydantic import BaseModel

    class Rows(BaseModel):
        instances: list[list[float]]

    predictor = app.api.state.services.predictor

    @app.api.post("/pydantic")
    def pydantic(asked: Rows) -> dict[str, list[str]]:
        """The same prediction, the body declared as lists of numbers, as the framework's tutorial has it."""
        loaded = predictor.load("pixels")
        best = loaded.outputs(np.array(asked.instances)).argmax(axis=1)
        return {"predictions": [loaded.row.classes[i] for i in best]}

    return app


def serve(data_dir: str, port: int) -> None:
    """One API process with its workers, run as `onelayer serve` runs it."""
    settings = Settings(data_dir=Path(data_dir), port=port, log_level="warning")
    server.run(application(settings), settings, listen(settings.host, settings.port))


def loads() -> list[Load]:
    """What is measured."""
    generator = np.random.default_rng(0)
    one, many = generator.integers(0, 256, (1, PIXELS)), generator.integers(0, 256, (256, PIXELS))
    as_json = {"Content-Type": JSON}
    as_npy = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
    two = _json("line", [[1.0, 2.0]])
    return [
        Load("no-op", "/noop", two, as_json),
        Load("no-op that reads its body", "/noop-body", two, as_json),
        Load("1 × 2 in JSON", "/predict", two, as_json),
        Load("1 × 784 in JSON", "/predict", _json("pixels", one.tolist()), as_json),
        Load("256 × 784 by pydantic", "/pydantic", json.dumps({"instances": many.tolist()}).encode(), as_json, 256),
        Load("256 × 784 in JSON", "/predict", _json("pixels", many.tolist()), as_json, 256),
        Load("256 × 784 floats by pydantic", "/pydantic", _floats(many, None), as_json, 256),
        Load("256 × 784 floats in JSON", "/predict", _floats(many, "pixels"), as_json, 256),
        Load("256 × 784 bytes in NPY", "/predict?model=pixels", npy(many.astype(np.uint8)), as_npy, 256),
        Load("256 × 784 floats in NPY", "/predict?model=pixels", npy(many.astype(np.float32)), as_npy, 256),
        _tensor("256 × 784 bytes in v2 binary", many.astype(np.uint8), "UINT8"),
        _tensor("256 × 784 floats in v2 binary", many.astype(np.float32), "FP32"),
    ]


def _json(model: str, instances: list[Any]) -> bytes:
    return json.dumps({"model": model, "instances": instances}).encode()


def _floats(values: Any, model: str | None) -> bytes:
    """Pixels as clients that scale them send them: seventeen digits each."""
    body = {"instances": (values / 255).tolist()} | ({"model": model} if model else {})
    return json.dumps(body).encode()


def npy(values: Any) -> bytes:
    """An array as the body of a request."""
    sink = io.BytesIO()
    np.save(sink, values)
    return sink.getvalue()


def _tensor(name: str, values: Any, datatype: str) -> Load:
    size = {"binary_data_size": values.nbytes}
    tensor = {"name": "X", "shape": list(values.shape), "datatype": datatype, "parameters": size}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Load(name, "/v2/models/pixels/infer", head + values.tobytes(), headers, len(values))


def prepare(client: httpx.Client) -> None:
    """A line of two features, and a classifier of 784 pixels."""
    made = client.post("/datasets", json={"name": "line", "source": LINE})
    assert made.status_code == 201, made.text
    _train(client, dataset="line", model="linear", model_name="line", epochs=3)
    generator = np.random.default_rng(0)
    idx = [np.array([0, 0, 8, 3, 0, 0, 7, 208, 0, 0, 0, 28, 0, 0, 0, 28], np.uint8).tobytes()]
    idx.append(generator.integers(0, 256, (2000, 28, 28), np.uint8).tobytes())
    labels = np.array([0, 0, 8, 1, 0, 0, 7, 208], np.uint8).tobytes() + bytes(i % 10 for i in range(2000))
    files = {"images": b"".join(idx), "labels": labels}
    made = client.post("/datasets", files=files, data={"name": "pixels"})
    assert made.status_code == 201, made.text
    _train(client, dataset="pixels", model="softmax", model_name="pixels", epochs=1)


def _train(client: httpx.Client, **spec: Any) -> None:
    job = client.post("/jobs", json=spec, headers={"Prefer": "wait=60"}).json()
    assert job["status"] == "succeeded", job


class Running:
    """The service in a process of its own."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        own = f"serve({str(folder / 'data')!r}, {port})"
        command = f"from app.server import prepare; prepare(); from benchmarks.predict import serve; {own}"
        self.url = f"http://127.0.0.1:{port}"
        environment = {**os.environ, **({"ONELAYER_THREADS": str(threads)} if threads else {})}
        self.process = subprocess.Popen([sys.executable, "-c", command], env=environment)
        self.client = httpx.Client(base_url=self.url, timeout=120, trust_env=False)
        for _ in range(600):
            time.sleep(0.1)
            try:
                if self.client.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                continue
        raise RuntimeError("the server is not ready")

    def stop(self) -> None:
        """Stop it."""
        self.client.close()
        self.process.terminate()
        self.process.wait(20)


def ratios(running: Running, folder: Path) -> None:
    """Every route in turn, several rounds, the best of each."""
    best: dict[str, Measured] = {}
    for _ in range(ROUNDS):
        for load in loads():
            found = measure(running.url, load, SECONDS, folder)
            if load.name not in best or found.per_second > best[load.name].per_second:
                best[load.name] = found
    for load in loads():
        found = best[load.name]
        rows = f"{found.per_second * load.rows:12.0f} rows/s"
        tail = f"p50 {found.p50_ms:7.2f} ms  p99 {found.p99_ms:7.2f} ms  ({found.p99_ms / found.p50_ms:.1f} ×)"
        print(f"{load.name:32} {found.per_second:9.0f} requests/s {rows}  {tail}")
    pairs = [
        ("1 × 2 in JSON", "no-op", "≥ 0.85"),
        ("1 × 784 in JSON", "no-op", "≥ 0.65"),
        ("256 × 784 in JSON", "256 × 784 by pydantic", "≥ 2"),
        ("256 × 784 floats in JSON", "256 × 784 floats by pydantic", "≥ 2"),
        ("256 × 784 bytes in NPY", "256 × 784 in JSON", "≥ 15"),
        ("256 × 784 floats in NPY", "256 × 784 floats in JSON", "≥ 15"),
        ("256 × 784 bytes in v2 binary", "256 × 784 in JSON", "≥ 15"),
        ("256 × 784 floats in v2 binary", "256 × 784 floats in JSON", "≥ 15"),
    ]
    for first, second, wanted in pairs:
        print(f"{first} / {second}: {best[first].per_second / best[second].per_second:.2f}   (wanted {wanted})")


def run() -> None:
    """Start a server, prepare two models, measure, stop."""
    with tempfile.TemporaryDirectory() as temporary:
        running = Running(Path(temporary))
        try:
            prepare(running.client)
            ratios(running, Path(temporary))
        finally:
            running.stop()
