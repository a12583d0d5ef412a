"""The receipt of a job: what it takes to run it again and get the same bits."""

import platform
from functools import cache
from importlib.metadata import version
from typing import Any

from app.jobs.spec import Spec
from app.training import devices
from app.training.compilation import processor
from app.training.problem import Rows
from app.training.team import threads

_PACKAGES = ("numba", "numpy", "onelayer", "pyarrow", "torch")


def receipt(dataset_sha256: str, spec: Spec, device: str | None, rows: Rows) -> dict[str, Any]:
    """The data, the seed, the machine's relevant parts, and the versions that computed."""
    return {
        "dataset_sha256": dataset_sha256,
        "seed": spec.seed,
        "device": device,
        "threads": threads(),
        "shuffle": "rows" if rows.pages is None else "blocks",
        **({"tf32": spec.tf32, "gpu": devices.gpu()} if device == "cuda" else {}),
        "machine": platform.machine(),
        "processor": processor(),
        "versions": _versions(),
    }


@cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
