"""The predictor: loaded models, and the one matrix product that answers /predict."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from app.datasets.encoding import Encoding
from app.errors import ModelNotFound
from app.models import weights as stored
from app.models.registry import Registry, key
from app.models.weights import Matrix, Weights
from app.storage import Storage
from app.tables import ModelRow

CACHED_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Loaded:
    """A model in memory."""

    row: ModelRow
    weights: Weights
    encoding: Encoding

    @property
    def bytes(self) -> int:
        """What it occupies."""
        return self.weights.weights.nbytes + self.weights.bias.nbytes

    def outputs(self, features: Matrix) -> Matrix:
        """ŷ, or the logits of a classifier: X·W + b.

        Shapes:  features (n, d) → (n, k)
        """
        # What overflows is refused by whoever asks, with the row that did it.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(features @ self.weights.weights + self.weights.bias)


class Predictor:
    """Finds a model by reference, keeps the weights last used in memory, and predicts."""

    def __init__(self, registry: Registry, storage: Storage, cached_bytes: int = CACHED_BYTES) -> None:
        self._registry = registry
        self._storage = storage
        self._cached_bytes = cached_bytes
        self._cache: OrderedDict[str, Loaded] = OrderedDict()
        self._lock = Lock()

    def load(self, reference: str) -> Loaded:
        """The model that a reference means now; a model never changes, so its weights are read once."""
        row = self._registry.get(reference)
        with self._lock:
            if row.id in self._cache:
                self._cache.move_to_end(row.id)
                return self._cache[row.id]
        try:
            loaded = Loaded(row, *stored.load(self._storage.path(key(row.id))))
        except FileNotFoundError as error:
            # It was deleted between the look at its row and now.
            raise ModelNotFound(reference) from error
        self._keep(loaded)
        return loaded

    def _keep(self, loaded: Loaded) -> None:
        with self._lock:
            self._cache[loaded.row.id] = loaded
            while len(self._cache) > 1 and sum(entry.bytes for entry in self._cache.values()) > self._cached_bytes:
                self._cache.popitem(last=False)


def softmax(logits: Matrix) -> Matrix:
    """P = exp(o) / Σ exp(o), from logits minus their row maximum, so that nothing overflows (d2l §4.1).

    Shapes:  logits (n, k) → (n, k), rows sum to 1
    """
    with np.errstate(over="ignore", under="ignore"):  # a difference beyond all numbers is a probability of 0
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def top(probabilities: Matrix, classes: Sequence[str], count: int) -> list[list[dict[str, Any]]]:
    """Of each row the `count` most probable classes, most probable first."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    best = np.take_along_axis(probabilities, order, axis=1).tolist()
    return [
        [{"class": classes[index], "probability": value} for index, value in zip(row, values, strict=True)]
        for row, values in zip(order.tolist(), best, strict=True)
    ]
