"""Continuation: the weights of a model, brought to the encoding of a job that goes on from it."""

import numpy as np

from app.datasets.encoding import Encoding
from app.models import weights as stored
from app.models.registry import Registry
from app.training.problem import Parameters


def start_from(model_id: str, encoding: Encoding, registry: Registry) -> Parameters:
    """The model's parameters as training takes them, matched by the names of features and outputs.

    A level or a class that the model did not know starts at 0, as a weight that is not learned yet.

    Raises:  ModelNotFound if the model was deleted since the job was submitted
    """
    with registry.files(model_id) as folder:
        weights, theirs, _ = stored.load(folder)
    rows, columns = _positions(encoding.names, theirs.names), _positions(_outputs(encoding), _outputs(theirs))
    raw, bias = np.zeros((len(rows), len(columns))), np.zeros(len(columns))
    known = np.ix_(rows >= 0, columns >= 0)
    raw[known] = weights.weights[np.ix_(rows[rows >= 0], columns[columns >= 0])]
    bias[columns >= 0] = weights.bias[columns[columns >= 0]]
    scaled = raw * encoding.scale[:, None]
    centred = bias + encoding.centre @ raw - np.asarray(encoding.target.centre or 0.0)
    return Parameters(scaled.astype(np.float32), centred.astype(np.float32))


def _positions(names: list[str], known: list[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where each name stands among the known ones, −1 where it does not."""
    places = {name: place for place, name in enumerate(known)}
    return np.array([places.get(name, -1) for name in names], np.int64)


def _outputs(encoding: Encoding) -> list[str]:
    return list(encoding.target.classes or encoding.target.columns)
