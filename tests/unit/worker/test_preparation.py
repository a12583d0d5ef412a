"""From a dataset on disk to the arrays that training takes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from app.datasets.catalogue import Catalogue
from app.datasets.ingest import Choices
from app.datasets.readers.content import Content, table_content
from app.errors import DatasetNotFound
from app.jobs.spec import Spec
from app.models.registry import Registry
from app.worker.preparation import Prepared, prepare
from tests.unit.worker.conftest import Claimed

ROWS = 10

Prepare = Callable[..., Prepared]


def houses() -> Content:
    price = [float(row) if row != 4 else None for row in range(ROWS)]
    return table_content(pa.table({"area": np.arange(float(ROWS)) ** 2, "town": ["a", "b"] * 5, "price": price}))


def images() -> Content:
    labels = pa.table({"label": [str(row % 3) for row in range(ROWS)]})
    pixels = np.arange(ROWS * 4, dtype=np.uint8).reshape(ROWS, 2, 2)
    return Content(lambda: iter(labels.to_batches()), {"image": (pixels,)}, test_rows=3, target="label")


@pytest.fixture
def prepared(catalogue: Catalogue, claimed: Claimed, registry: Registry) -> Prepare:
    """Prepare a job on a dataset of that name."""
    catalogue.create(houses(), Choices(target="price"), "houses")
    catalogue.create(images(), Choices(), "images")

    def make(dataset: str, model: str = "linear", **options: Any) -> Prepared:
        job, _ = claimed(dataset=dataset, model=model, **options)
        return prepare(Spec.model_validate(job.spec), job, catalogue, registry)

    return make


def test_a_table_becomes_a_matrix_of_floats_and_its_target(prepared: Prepare, catalogue: Catalogue):
    made = prepared("line")

    train, line = made.problem.train, catalogue.open("line")
    assert (train.X.dtype, train.X.shape, train.y.dtype, train.y.shape) == (np.float32, (100, 2), np.float32, (100, 1))
    assert train.X[:, 0].tolist() == np.float32(line.column("x1").to_numpy()).tolist()
    assert train.y[:, 0].tolist() == np.float32(line.column("y").to_numpy()).tolist()
    assert (made.problem.validation, made.problem.outputs) == (None, 1)
    assert made.dataset_sha256 == line.description.sha256


def test_rows_without_a_target_do_not_train(prepared: Prepare):
    train = prepared("houses", features=["area"], standardize=False).problem.train

    assert train.X[:, 0].tolist() == [float(row**2) for row in range(ROWS) if row != 4]
    assert train.y[:, 0].tolist() == [float(row) for row in range(ROWS) if row != 4]


def test_only_the_features_asked_for_are_learned_from(prepared: Prepare):
    assert prepared("houses", features=["town"]).encoding.names == ["town=a", "town=b", "town=unknown"]
    assert prepared("houses").encoding.names == ["area", "town=a", "town=b", "town=unknown"]


def test_the_encoding_is_learned_from_the_training_rows_alone(prepared: Prepare):
    made = prepared("houses", features=["area"], validation={"fraction": 0.5}, standardize=True, seed=3)
    train, validation = made.problem.train, made.problem.validation

    assert validation is not None
    assert train.count + validation.count == ROWS - 1
    assert train.X.mean() == pytest.approx(0, abs=1e-6)
    assert train.X.std() == pytest.approx(1, rel=1e-6)
    assert abs(validation.X.mean()) > 1e-3
    assert not set(train.y[:, 0].tolist()) & set(validation.y[:, 0].tolist())


def test_the_same_seed_holds_out_the_same_rows(prepared: Prepare):
    def held_out(seed: int) -> list[float]:
        made = prepared("line", validation={"fraction": 0.2}, seed=seed).problem.validation
        assert made is not None
        return made.y[:, 0].tolist()

    assert held_out(1) == held_out(1)
    assert held_out(1) != held_out(2)


def test_pixels_stay_bytes_and_the_test_split_validates(prepared: Prepare):
    problem = prepared("images", "softmax").problem

    assert problem.validation is not None
    assert (problem.train.X.dtype, problem.train.X.shape, problem.validation.X.shape) == (np.uint8, (7, 4), (3, 4))
    assert problem.train.scale == problem.validation.scale == 1 / 255
    assert (problem.train.y.dtype, problem.train.y.tolist()) == (np.int32, [0, 1, 2, 0, 1, 2, 0])
    assert problem.validation.y.tolist() == [1, 2, 0]
    assert problem.outputs == 3


def test_another_dataset_may_validate(prepared: Prepare, catalogue: Catalogue):
    other = catalogue.create(houses(), Choices(target="price"), "other")

    made = prepared("houses", features=["area"], validation={"dataset": "other"}, standardize=True)

    assert made.problem.validation is not None
    assert made.problem.validation.X.tolist() == made.problem.train.X.tolist()
    assert made.dataset_sha256 == other.sha256  # the same content has the same hash


def test_several_targets_are_several_columns(prepared: Prepare):
    problem = prepared("line", target=["y", "x1"]).problem

    assert (problem.train.y.shape, problem.train.X.shape, problem.outputs) == ((100, 2), (100, 1), 2)


def test_a_job_whose_dataset_is_gone_says_so(catalogue: Catalogue, claimed: Claimed, registry: Registry):
    job, _ = claimed()
    job.dataset_id = None

    with pytest.raises(DatasetNotFound):
        prepare(Spec.model_validate(job.spec), job, catalogue, registry)


def test_large_data_can_be_measured_on_some_of_its_rows(prepared: Prepare):
    made = prepared("line", validation={"fraction": 0.2})

    assert made.sampled(160).problem.train.X is made.problem.train.X
    few, drawn = made.sampled(40).problem, made.problem.train.draw(4)
    assert few.train.X.tolist() == made.problem.train.X[drawn].tolist()
    assert few.train.y.tolist() == made.problem.train.y[drawn].tolist()
    assert few.validation is not None
    assert few.validation.count == 20
