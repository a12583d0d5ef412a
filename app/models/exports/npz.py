"""NPZ: arrays for NumPy, readable with allow_pickle=False."""

import io

import numpy as np

from app.models.exports.description import statistics
from app.models.predictor import Loaded


def write(loaded: Loaded) -> bytes:
    """`weights`, `bias`, the names of `columns` and `outputs`, and the statistics."""
    arrays = {
        "weights": loaded.weights.weights,
        "bias": loaded.weights.bias,
        "columns": np.array(loaded.encoding.names),
        "outputs": np.array(loaded.output_names),
        "kind": np.array(loaded.row.kind),
    } | statistics(loaded)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()
