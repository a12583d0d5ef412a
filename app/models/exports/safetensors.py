"""safetensors: all tensors in one file, the description as JSON in its metadata. Opens in torch and NumPy."""

import json

import numpy as np
from safetensors.numpy import save

from app.models.exports.description import FORMAT, description, statistics
from app.models.predictor import Loaded


def write(loaded: Loaded) -> bytes:
    """`weights` (d, k) and `bias` (k,) act on design columns in their own units; `description` names them."""
    tensors = {"weights": loaded.weights.weights, "bias": loaded.weights.bias} | statistics(loaded)
    metadata = {"format": FORMAT, "description": json.dumps(description(loaded), ensure_ascii=False)}
    content: bytes = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, metadata)
    return content
