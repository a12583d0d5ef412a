"""A job on a GPU through HTTP, where this machine has one."""

import pytest
import torch

from tests.running_server import RunningServer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")


def test_a_job_on_the_gpu_ends_where_one_on_the_cpu_does_and_its_receipt_names_the_gpu(server: RunningServer) -> None:
    source = {"type": "synthetic_linear", "weights": [2, -3.4], "bias": 4.2, "rows": 5000, "seed": 0}
    server.client.post("/datasets", json={"name": "for-the-gpu", "source": source})
    spec = {"dataset": "for-the-gpu", "model": "linear", "epochs": 5, "learning_rate": 0.03, "batch_size": 50}
    found = []
    for device in ("cuda", "cpu", "auto"):
        asked = {**spec, "device": device, "model_name": f"by-{device}"}
        job = server.client.post("/jobs", json=asked, headers={"Prefer": "wait=60"}).json()
        assert job["status"] == "succeeded", job
        weights = server.client.get(f"/models/by-{device}/coefficients").json()["coefficients"]
        found.append(([one["weight"] for one in weights], job["receipt"]))
    by_cuda, by_cpu, by_itself = found
    assert by_cuda[0] == pytest.approx(by_cpu[0], abs=1e-2)
    assert by_cuda[1]["gpu"].startswith(torch.cuda.get_device_name())
    assert "gpu" not in by_cpu[1]
    assert by_itself[1]["device"] == "cpu"  # so small a job does not go there of itself
