"""A prediction: rows in, numbers or classes out, with what else the client asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.datasets.instances import encode_instances, encode_records
from app.errors import Fault, InvalidInstances, InvalidRequest
from app.models.predictor import Loaded, softmax, top
from app.models.weights import Matrix


def predict(
    loaded: Loaded,
    instances: Sequence[Any] | None,
    records: Sequence[dict[str, Any]] | None,
    outputs: Sequence[str] = (),
    top_k: int | None = None,
) -> dict[str, Any]:
    """What /predict answers: the model, the predictions, and of a classifier its probabilities when asked."""
    _check(loaded, outputs, top_k)
    features = _features(loaded, instances, records)
    row = loaded.row
    reply: dict[str, Any] = {"model": {"id": row.id, "name": row.name, "version": row.version}}
    values = loaded.outputs(features)
    _check_finite(values)
    if row.kind == "linear":
        reply["predictions"] = np.ascontiguousarray(values[:, 0]) if values.shape[1] == 1 else values
        return reply
    classes = row.classes or []
    reply["predictions"] = [classes[index] for index in values.argmax(axis=1).tolist()]
    probabilities = softmax(values)
    if "probabilities" in outputs:
        reply["probabilities"] = probabilities
    if top_k is not None:
        reply["top_k"] = top(probabilities, classes, top_k)
    return reply


def _features(loaded: Loaded, instances: Sequence[Any] | None, records: Sequence[dict[str, Any]] | None) -> Matrix:
    if instances is not None:
        return encode_instances(loaded.encoding, instances)
    return encode_records(loaded.encoding, records or [])


def _check_finite(values: Matrix) -> None:
    beyond = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(beyond):
        raise InvalidInstances([Fault(f"row {row + 1}", "its prediction is beyond all numbers") for row in beyond[:10]])


def _check(loaded: Loaded, outputs: Sequence[str], top_k: int | None) -> None:
    """Refuse what a model of this kind cannot say."""
    if loaded.row.kind == "linear":
        if outputs:
            raise InvalidRequest(Fault("outputs[0]", f"{outputs[0]} is said of softmax models only"))
        if top_k is not None:
            raise InvalidRequest(Fault("top_k", "classes are named by softmax models only"))
    elif top_k is not None and top_k > len(loaded.row.classes or []):
        raise InvalidRequest(Fault("top_k", f"the model has {len(loaded.row.classes or [])} classes"))
