"""The receipt of a job."""

import json
import platform

import numpy as np
import pytest
import torch

from app import __version__
from app.jobs.spec import Spec
from app.training import devices
from app.training.compilation import processor
from app.training.problem import Rows
from app.worker.receipt import receipt


def test_a_receipt_holds_what_it_takes_to_get_the_same_bits():
    spec = Spec(dataset="line", model="linear", seed=7)

    found = receipt("0" * 64, spec, "cpu", Rows(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32)))
    assert found["shuffle"] == "rows"

    assert (found["dataset_sha256"], found["seed"], found["device"]) == ("0" * 64, 7, "cpu")
    assert found["threads"] == torch.get_num_threads()
    assert found["machine"] == platform.machine()
    assert found["processor"] == processor()
    versions = found["versions"]
    assert versions["numpy"] == np.__version__
    assert versions["onelayer"] == __version__
    assert versions["python"] == platform.python_version()
    assert set(versions) == {"python", "numba", "numpy", "onelayer", "pyarrow", "torch"}
    assert json.loads(json.dumps(found)) == found


def test_of_a_training_on_a_gpu_it_says_which(monkeypatch: pytest.MonkeyPatch):
    rows = Rows(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))
    monkeypatch.setattr(devices, "gpu", lambda: "NVIDIA H200, CUDA 13.0")
    found = receipt("0" * 64, Spec(dataset="line", model="linear", tf32=True, device="cuda"), "cuda", rows)
    assert (found["device"], found["gpu"], found["tf32"]) == ("cuda", "NVIDIA H200, CUDA 13.0", True)
