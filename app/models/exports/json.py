"""JSON: every number in full, for software that reads nothing else."""

import orjson

from app.models.exports.description import description, statistics
from app.models.predictor import Loaded


def write(loaded: Loaded) -> bytes:
    """The description, `weights` as a list for each design column, `bias`, and the statistics."""
    document = description(loaded) | {
        "weights": loaded.weights.weights.tolist(),
        "bias": loaded.weights.bias.tolist(),
        # Not a number becomes null: a standard error that the data cannot tell.
        "statistics": {name: tensor.tolist() for name, tensor in statistics(loaded).items()},
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 if loaded.weights.weights.size < 1000 else 0)
