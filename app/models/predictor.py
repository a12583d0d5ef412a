"""The predictor: what a reference means now, and the weights last used, in memory.

The memory is bounded by bytes. A model larger than all of it displaces none of the others: it is kept beside them, so
that it is not read for each request, until another one as large is asked for.
"""

from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.access.viewer import viewer
from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import ArrayFeature, NumericFeature
from app.errors import Unsupported
from app.models import weights as stored
from app.models.coefficient_errors import UNTESTED, CoefficientErrors
from app.models.registry import Registry
from app.models.revision import Revision
from app.models.statistics import Statistics
from app.models.weights import Matrix, Weights
from app.tables import ModelRow

BATCH_ROWS = 16_384
BATCH_BYTES = 16 << 20
_BLOCK_BYTES = 768 << 10
"""Fits into a core's own cache, and what is smaller than a MiB is not given back to the system each time."""
_NAME_BYTES = 120
"""What the name of a design column occupies, about."""


@dataclass(frozen=True)
class Loaded:
    """A model in memory."""

    row: ModelRow
    weights: Weights
    encoding: Encoding
    statistics: Statistics | None = None
    coefficient_errors: CoefficientErrors = UNTESTED

    @property
    def bytes(self) -> int:
        """What it occupies."""
        own = self.weights.weights.nbytes + self.weights.bias.nbytes + _NAME_BYTES * len(self.weights.weights)
        own += sum(tensor.nbytes for tensor in self.coefficient_errors.tensors().values())
        return own + (self.statistics.bytes if self.statistics is not None else 0)

    @cached_property
    def reference(self) -> dict[str, str | int | None]:
        """How a reply says which model answered."""
        return {"id": self.row.id, "name": self.row.name, "version": self.row.version}

    @cached_property
    def output_names(self) -> list[str]:
        """What the columns of the weights are: classes, or targets."""
        return list(self.row.classes or self.row.target)

    @cached_property
    def plain_width(self) -> int | None:
        """The number of values of a row, if all are numbers that go into the matrix as they are; else None."""
        features = self.encoding.features
        if len(features) == 1 and isinstance(features[0], ArrayFeature):
            return features[0].width
        plain = all(isinstance(f, NumericFeature) and not f.boolean and not f.indicator for f in features)
        return len(features) if plain else None

    @cached_property
    def batch_rows(self) -> int:
        """How many rows are encoded at a time, so that a long request's design matrix never exists whole."""
        return max(1, min(BATCH_ROWS, BATCH_BYTES // (8 * len(self.weights.weights))))

    @property
    def training(self) -> Statistics:
        """What it remembers of its training rows, or the reason that it says nothing about them."""
        if self.statistics is None:
            raise Unsupported((), "The model was saved without statistics of its training rows; train it again.")
        return self.statistics

    def outputs(self, features: NDArray[Any]) -> Matrix:
        """ŷ, or the logits of a classifier: X·W + b, in double precision whatever type of number the features are.

        Shapes:  features (n, d) → (n, k)
        """
        weights, bias = self.weights.weights, self.weights.bias
        size = max(1, _BLOCK_BYTES // (8 * len(weights)))
        # What overflows is refused by whoever asks, with the row that did it.
        with np.errstate(over="ignore", invalid="ignore"):
            if len(features) <= size:
                return np.asarray(features.astype(np.float64, copy=False) @ weights + bias)
            # In blocks: a wide copy of everything would cost more than the product.
            values = np.empty((len(features), len(bias)))
            for start in range(0, len(features), size):
                block = features[start : start + size].astype(np.float64, copy=False)
                np.matmul(block, weights, out=values[start : start + size])
            return np.add(values, bias, out=values)


class Predictor:
    """Finds a model by reference, and keeps models in memory up to a number of bytes, the last used ones."""

    def __init__(self, registry: Registry, revision: Revision, cached_bytes: int) -> None:
        self._registry = registry
        self._revision = revision
        self._cached_bytes = cached_bytes
        self.hits = self.misses = 0
        self._cache: OrderedDict[str, Loaded] = OrderedDict()
        self._bytes = 0
        self._oversize: Loaded | None = None
        self._meanings: dict[tuple[str | None, str], str] = {}
        self._seen: int | None = None
        self._lock = Lock()
        self._looking = Lock()
        self._loading = Lock()

    def cached(self, reference: str) -> Loaded | None:
        """The model that a reference means now, if that is known and the model is in memory. Never waits."""
        revision = self._revision.now()
        with self._lock:
            if revision is None or revision != self._seen:
                self._meanings.clear()
                self._seen = revision
                return None
            model_id = self._meanings.get((viewer().sight, reference))
            return self._find(model_id) if model_id is not None else None

    def load(self, reference: str) -> Loaded:
        """The model that a reference means now; a model never changes, so its weights are read once."""
        found = self.cached(reference)
        if found is not None:
            return found
        # Whoever comes while another looks finds what that one has found, if the database tells that it still holds.
        with self._looking if self._revision.now() is not None else nullcontext():
            if (found := self.cached(reference)) is not None:
                return found
            revision = self._revision.now()
            row = self._registry.get(reference)
            self._remember(reference, row.id, revision)
        with self._lock:
            found = self._find(row.id)
        return found if found is not None else self._read(row)

    def _find(self, model_id: str) -> Loaded | None:
        found = self._cache.get(model_id)
        if found is not None:
            self.hits += 1
            self._cache.move_to_end(model_id)
        elif self._oversize is not None and self._oversize.row.id == model_id:
            self.hits += 1
            found = self._oversize
        return found

    def _remember(self, reference: str, model_id: str, revision: int | None) -> None:
        with self._lock:
            # If the database has moved on since the look, the next request clears this again.
            if revision is not None and revision == self._seen:
                self._meanings[viewer().sight, reference] = model_id

    def _read(self, row: ModelRow) -> Loaded:
        with self._loading:  # once, however many ask for it at the same time
            with self._lock:
                if (found := self._find(row.id)) is not None:
                    return found
            with self._registry.files(row.id) as folder:
                loaded = Loaded(row, *stored.load(folder), CoefficientErrors.load(folder))
            self._keep(loaded)
        return loaded

    @property
    def bytes(self) -> int:
        """What the models in memory occupy."""
        return self._bytes + (self._oversize.bytes if self._oversize is not None else 0)

    def _keep(self, loaded: Loaded) -> None:
        with self._lock:
            self.misses += 1
            if loaded.bytes > self._cached_bytes:
                self._oversize = loaded
                return
            self._cache[loaded.row.id] = loaded
            self._bytes += loaded.bytes
            while self._bytes > self._cached_bytes:
                _, dropped = self._cache.popitem(last=False)
                self._bytes -= dropped.bytes
