"""The predictor's memory: bounded by bytes, the last used stay, and a reference means what it means now."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.database import Database
from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import NumericFeature
from app.datasets.target_encoding import TargetEncoding
from app.errors import ModelNotFound
from app.identifiers import new_id
from app.models import predictor as module
from app.models.predictor import Predictor
from app.models.registry import Registry, key
from app.models.revision import Revision
from app.models.weights import Weights
from app.storage import Storage
from app.tables import ModelRow

WIDTH = 100
BYTES = (WIDTH + 1) * 8 + 120 * WIDTH

Make = Callable[[str], ModelRow]


@pytest.fixture
def registry(database: Database, storage: Storage) -> Registry:
    return Registry(database, storage)


@pytest.fixture
def make(registry: Registry, storage: Storage) -> Make:
    """Add a linear model of a hundred columns to the registry, its bias the version."""

    def added(name: str) -> ModelRow:
        model_id = new_id()
        encoding = Encoding(tuple(NumericFeature(f"x{i}", 0.0) for i in range(WIDTH)), TargetEncoding(("y",), None))
        with storage.stage() as stage:
            Weights(np.zeros((WIDTH, 1)), np.zeros(1)).save(stage.path, encoding)
            stage.publish(key(model_id))
            return registry.create(
                model_id, name, kind="linear", features=[], target=["y"], metrics={}, partial=False
            )  # fmt: skip

    return added


@pytest.fixture
def predictor(database: Database, storage: Storage, registry: Registry) -> Predictor:
    return Predictor(registry, Revision(database), cached_bytes=2 * BYTES)


def in_memory(predictor: Predictor, names: str) -> list[bool]:
    return [predictor.cached(name) is not None for name in names]


def test_only_so_many_bytes_are_kept_and_the_last_used_of_them(predictor: Predictor, make: Make) -> None:
    for name in "abc":
        make(name)
    for name in "abac":
        predictor.load(name)
    assert in_memory(predictor, "abc") == [True, False, True]


def test_a_model_larger_than_the_memory_is_kept_beside_it(
    database: Database, storage: Storage, registry: Registry, make: Make
) -> None:
    small = Predictor(registry, Revision(database), cached_bytes=BYTES - 1)
    assert small.load(make("a").id).weights.weights.shape == (WIDTH, 1)
    make("b")
    assert small.load("b").row.name == "b"
    assert in_memory(small, "ab") == [False, True]


def test_a_name_means_its_newest_version_from_the_moment_it_is_there(predictor: Predictor, make: Make) -> None:
    make("a")
    assert [predictor.load("a").row.version, predictor.load("a").row.version] == [1, 1]
    make("a")
    assert predictor.cached("a") is None
    assert predictor.load("a").row.version == 2


def test_an_alias_means_what_it_was_moved_to_in_every_process(
    database: Database, storage: Storage, predictor: Predictor, registry: Registry, make: Make
) -> None:
    other = Predictor(registry, Revision(Database(str(database.engine.url))), 2 * BYTES)
    make("a")
    make("a")
    for version in (1, 2, 1):
        registry.set_alias("a", "best", version)
        assert [p.load("a@best").row.version for p in (predictor, other)] == [version] * 2
        assert [p.cached("a@best") is not None for p in (predictor, other)] == [True, True]
    registry.remove_alias("a", "best")
    for each in (predictor, other):
        with pytest.raises(ModelNotFound):
            each.load("a@best")


def test_a_deleted_model_is_gone_although_it_is_in_memory(predictor: Predictor, registry: Registry, make: Make) -> None:
    row = make("a")
    predictor.load("a")
    registry.delete("a")
    for reference in ("a", row.id):
        with pytest.raises(ModelNotFound):
            predictor.load(reference)


def test_many_who_ask_at_once_read_a_model_once(
    predictor: Predictor, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = make("a")
    reads: list[object] = []
    load = module.stored.load
    monkeypatch.setattr(module.stored, "load", lambda folder: reads.append(folder) or load(folder))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: predictor.load("a").row.id, range(32)))
    assert (set(found), len(reads)) == ({row.id}, 1)


def test_a_database_without_a_revision_is_asked_each_time(
    predictor: Predictor, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Revision, "now", lambda self: None)
    make("a")
    predictor.load("a")
    assert predictor.cached("a") is None
    make("a")
    assert predictor.load("a").row.version == 2
