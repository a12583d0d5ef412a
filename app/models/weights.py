"""Weights on disk: one safetensors file, `weights` (d × k), `bias` (k) and statistics, beside the encoding as JSON."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from app.datasets.encoding import Encoding
from app.models.statistics import Statistics

WEIGHTS_FILE = "weights.safetensors"
ENCODING_FILE = "encoding.json"
# One entry only: the order of several is not fixed, and the same weights are to give the same file.
FORMAT = "onelayer-1"

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """What a model multiplies with: ŷ = X·weights + bias, on features in their own units.

    Shapes:  weights (d, k), bias (k,)
    """

    weights: Matrix
    bias: Matrix

    def save(self, folder: Path, encoding: Encoding, statistics: Statistics | None = None) -> None:
        """Write both files into a folder that is being staged."""
        tensors = {"weights": np.ascontiguousarray(self.weights), "bias": np.ascontiguousarray(self.bias)}
        if statistics is not None:
            tensors |= {name: np.ascontiguousarray(values) for name, values in statistics.tensors().items()}
        save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": FORMAT})
        (folder / ENCODING_FILE).write_text(json.dumps(encoding.to_json(), ensure_ascii=False), encoding="utf-8")


def load(folder: Path) -> tuple[Weights, Encoding, Statistics | None]:
    """Read both files of a model. Those saved before statistics were kept have none."""
    tensors = load_file(folder / WEIGHTS_FILE)
    encoding = Encoding.from_json(json.loads((folder / ENCODING_FILE).read_text(encoding="utf-8")))
    return Weights(tensors["weights"], tensors["bias"]), encoding, Statistics.of(tensors)
