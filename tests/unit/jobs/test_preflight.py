"""Pre-flight: what a job would train on and cost, without training it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from app.database import Database
from app.datasets.catalogue import Catalogue
from app.datasets.ingest import Choices
from app.datasets.readers.content import table_content
from app.errors import InvalidSpec
from app.jobs.order import Order
from app.jobs.preflight import Preflight, preflight
from app.jobs.spec import Spec
from app.jobs.submission import order
from app.jobs.training_data import TrainingData
from app.models.registry import Registry
from app.storage import Storage

LEVELS = 1500
Look = Callable[..., Preflight]


@pytest.fixture
def catalogue(database: Database, storage: Storage) -> Catalogue:
    """Towns, of which there are more than may each have a column, and areas, of which one is missing."""
    made = Catalogue(database, storage)
    towns = [f"t{row % LEVELS}" for row in range(2 * LEVELS)]
    areas = [None, *np.arange(2.0 * LEVELS - 1)]
    content = table_content(pa.table({"town": towns, "area": areas, "price": np.arange(2.0 * LEVELS)}))
    made.create(content, Choices(target="price"), "houses")
    return made


@pytest.fixture
def asked(catalogue: Catalogue, database: Database, storage: Storage) -> Callable[..., Order]:
    def make(**options: Any) -> Order:
        spec = Spec.model_validate({"dataset": "houses", "model": "linear", **options})
        return order(spec, catalogue, {"cpu"}, Registry(database, storage))

    return make


@pytest.fixture
def look(catalogue: Catalogue, asked: Callable[..., Order]) -> Look:
    return lambda devices=frozenset({"cpu"}), **options: preflight(asked(**options), catalogue, set(devices))


def test_features_are_counted_as_the_options_of_the_encoding_make_them(
    look: Look, asked: Callable[..., Order], catalogue: Catalogue
):
    options = {"max_categories": 3, "missing_indicator": True}
    job = asked(**options)
    data = TrainingData.of(Spec.model_validate(job.spec), catalogue.files(str(job.dataset_id)), None)

    assert look(**options).features == len(data.encoding.names) < 10
    assert look(features=["area"], missing_indicator=True).features == look(features=["area"]).features + 1


def test_what_the_job_would_be_refused_for_is_refused(look: Look):
    with pytest.raises(InvalidSpec, match="max_categories"):
        look()


def test_rows_without_a_target_and_those_that_validate_are_not_trained_on(look: Look):
    found = look(features=["area"], validation={"fraction": 0.2})

    assert (found.rows, found.validation_rows) == (LEVELS * 2 * 4 // 5, LEVELS * 2 // 5)


@pytest.mark.parametrize("seed", range(4))
def test_a_fraction_is_one_of_the_rows_that_have_a_target(look: Look, catalogue: Catalogue, seed: int):
    content = table_content(pa.table({"area": [1.0, 2.0, 3.0, 4.0], "price": [1.0, None, None, 4.0]}))
    catalogue.create(content, Choices(target="price"), "few")

    found = look(dataset="few", validation={"fraction": 0.2}, seed=seed)

    assert (found.rows, found.validation_rows) == (1, 1)


def test_only_what_takes_long_goes_to_a_gpu_of_its_own_accord(look: Look):
    both, wide = frozenset({"cpu", "cuda"}), {"max_categories": 1000, "batch_size": 2000}

    assert look(both, **wide, epochs=1).device == "cpu"
    assert look(both, **wide, epochs=1_000_000).device == "cuda"
    assert look(**wide, epochs=1_000_000).device == "cpu"


@pytest.mark.parametrize(
    ("options", "settled"),
    [
        ({"learning_rate": 0.03}, ("none", 0.0)),
        ({}, ("whiten", 0.0)),
        ({"standardize": False}, ("none", 0.9)),
        ({"solver": "lbfgs"}, ("whiten", None)),
    ],
)
def test_the_spec_has_what_the_size_of_the_data_settles(
    look: Look, options: dict[str, Any], settled: tuple[str, float | None]
):
    spec = look(features=["area"], **options).spec

    assert (spec["precondition"], spec["momentum"]) == settled
