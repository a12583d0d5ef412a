"""What the tests of the models build theirs with: models whose weights are known, without any training."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from app.database import Database
from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import CategoricalFeature, Feature, NumericFeature
from app.datasets.target_encoding import TargetEncoding
from app.identifiers import new_id
from app.models.coefficient_errors import CoefficientErrors
from app.models.predictor import Predictor
from app.models.registry import Registry, key
from app.models.revision import Revision
from app.models.statistics import Statistics
from app.models.weights import Weights
from app.settings import MEBIBYTE
from app.storage import Storage
from app.tables import ModelRow
from tests.unit.datasets.conftest import build  # noqa: F401 - the fixture

X1, X2 = NumericFeature("x1", 0.0), NumericFeature("x2", 10.0)
TOWN = CategoricalFeature("town", ("bonn", "köln"), (0.5, 0.5), unknown_trained=False)

Add = Callable[..., ModelRow]
Make = Callable[[int], Predictor]


@pytest.fixture
def registry(database: Database, storage: Storage) -> Registry:
    return Registry(database, storage)


@pytest.fixture
def make_predictor(database: Database, registry: Registry, storage: Storage) -> Make:
    """A predictor that keeps models of so many bytes in memory."""
    return lambda cached_bytes: Predictor(registry, Revision(database), cached_bytes)


@pytest.fixture
def predictor(make_predictor: Make) -> Predictor:
    return make_predictor(MEBIBYTE)


@pytest.fixture
def add(database: Database, storage: Storage, registry: Registry) -> Add:
    """Save a model as a worker does: by default ŷ = 2·x1 − 3.4·x2 + 4.2."""

    def make(
        name: str | None = None,
        weights: ArrayLike = ((2.0,), (-3.4,)),
        bias: ArrayLike = (4.2,),
        features: Sequence[Feature] = (X1, X2),
        target: Sequence[str] = ("y",),
        classes: Sequence[str] | None = None,
        statistics: Statistics | None = None,
        coefficient_errors: CoefficientErrors | None = None,
        **fields: Any,
    ) -> ModelRow:
        encoding = Encoding(tuple(features), TargetEncoding(tuple(target), tuple(classes) if classes else None))
        about = {"kind": "softmax" if classes else "linear", "features": [], "metrics": {}, "job_id": new_id()}
        model_id = new_id()
        with storage.stage() as stage:
            Weights(np.array(weights, np.float64), np.array(bias, np.float64)).save(stage.path, encoding, statistics)
            if coefficient_errors is not None:
                coefficient_errors.save(stage.path)
            stage.publish(key(model_id))
            with database.write() as session:
                row = registry.add(
                    session, model_id, name, target=list(target), classes=list(classes) if classes else None,
                    **{**about, **fields},
                )  # fmt: skip
        return row

    return make


def folders(storage: Storage) -> set[str]:
    """The models that have files."""
    parent: Path = storage.root / "models"
    return {folder.name for folder in parent.iterdir()} if parent.is_dir() else set()
