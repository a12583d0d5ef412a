"""Submission: what can be known to fail is refused, what is left open is settled."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from app.database import Database
from app.datasets.catalogue import Catalogue
from app.datasets.ingest import Choices
from app.datasets.readers.content import Content, table_content
from app.datasets.synthetic import SyntheticLinear, SyntheticSoftmax
from app.errors import DatasetNotFound, InvalidSpec
from app.jobs.order import Order
from app.jobs.spec import Spec
from app.jobs.submission import order
from app.models.registry import Registry
from app.storage import Storage

Ask = Callable[..., Order]


def table(rows: int = 20, **columns: Any) -> Content:
    about = {"age": np.arange(float(rows)), "town": [f"t{i % 2}" for i in range(rows)], "price": np.arange(float(rows))}
    return table_content(pa.table({**about, **columns}))


def with_test_split() -> Content:
    images = np.zeros((12, 2, 2), np.uint8)
    labels = pa.table({"label": [str(row % 3) for row in range(12)]})
    return Content(batches=lambda: iter(labels.to_batches()), arrays={"image": (images,)}, target="label", test_rows=2)


@pytest.fixture
def catalogue(database: Database, storage: Storage) -> Catalogue:
    made = Catalogue(database, storage)
    made.create(SyntheticLinear([2.0, -3.4], 4.2, rows=1000).content(), Choices(), "line")
    made.create(SyntheticSoftmax(3, 2, 60).content(), Choices(), "clouds")
    made.create(table(), Choices(target="price"), "houses")
    return made


@pytest.fixture
def registry(database: Database, storage: Storage) -> Registry:
    return Registry(database, storage)


@pytest.fixture
def ask(catalogue: Catalogue, registry: Registry) -> Ask:
    def make(
        dataset: str, model: str = "linear", devices: frozenset[str] = frozenset({"cpu"}), **options: Any
    ) -> Order:
        return order(
            Spec.model_validate({"dataset": dataset, "model": model, **options}), catalogue, set(devices), registry
        )

    return make


def refused(ask: Ask, *arguments: Any, **options: Any) -> str:
    """Where the fault of a refused spec is located."""
    with pytest.raises(InvalidSpec) as caught:
        ask(*arguments, **options)
    return caught.value.faults[0].location


def test_every_default_is_settled_and_shown(ask: Ask, catalogue: Catalogue):
    made = ask("line")

    assert made.dataset_id == catalogue.get("line").id == made.spec["dataset"]
    assert (made.model, made.epochs, made.requested_device, made.validation_dataset_id) == ("linear", 600, "auto", None)
    settled = {name: made.spec[name] for name in ("target", "features", "loss", "epochs", "batch_size", "standardize")}
    assert settled == {
        "target": "y", "features": ["x1", "x2"], "loss": "squared", "epochs": 600, "batch_size": 32,
        "standardize": False,
    }  # fmt: skip
    assert made.spec["validation"] is None


def test_what_was_settled_can_be_asked_for_again_and_means_the_same(ask: Ask, catalogue: Catalogue, registry: Registry):
    made = ask(
        "houses", target="age", features=["town"], validation={"fraction": 0.25}, model_name="m", seed=3,
        lr_schedule={"type": "cosine"}, init={"type": "normal", "std": 1.0}, momentum=0.9, nesterov=True,
    )  # fmt: skip

    again = order(Spec.model_validate(made.spec), catalogue, {"cpu"}, registry)

    assert again == made


def test_tables_are_standardised_and_synthetic_data_is_not_unless_one_says_so(ask: Ask):
    assert ask("houses").spec["standardize"] is True
    assert ask("line").spec["standardize"] is False
    assert ask("houses", standardize=False).spec["standardize"] is False
    assert ask("line", standardize=True).spec["standardize"] is True


def test_several_targets_stay_a_list_and_one_in_a_list_does_not(ask: Ask):
    assert ask("houses", target=["price", "age"]).spec["target"] == ["price", "age"]
    assert ask("houses", target=["price"]).spec["target"] == "price"


def test_a_dataset_that_validates_is_known_by_its_id(ask: Ask, catalogue: Catalogue):
    other = catalogue.create(SyntheticLinear([1.0, 1.0], 0.0, rows=5).content(), Choices(), "other")

    made = ask("line", validation={"dataset": "other"})

    assert made.validation_dataset_id == other.id
    assert made.spec["validation"] == {"dataset": other.id}


def test_a_test_split_validates_by_default_and_not_when_nobody_shall(ask: Ask, catalogue: Catalogue):
    catalogue.create(with_test_split(), Choices(), "images")

    assert ask("images", "softmax").spec["validation"] == {"split": "test"}
    assert ask("images", "softmax", validation=None).spec["validation"] is None
    assert ask("images", "softmax").spec["standardize"] is False


def test_a_held_out_fraction_counts_when_the_defaults_are_settled(ask: Ask):
    assert ask("line", validation={"fraction": 0.9}).spec["batch_size"] == 8
    assert ask("line").spec["batch_size"] == 32


def test_what_is_not_there_is_not_found(ask: Ask):
    with pytest.raises(DatasetNotFound):
        ask("nowhere")
    with pytest.raises(DatasetNotFound):
        ask("line", validation={"dataset": "nowhere"})


@pytest.mark.parametrize(
    ("dataset", "model", "options", "location"),
    [
        ("houses", "linear", {"target": "rent"}, "target"),
        ("houses", "linear", {"target": "town"}, "target"),
        ("clouds", "softmax", {"target": "x1"}, "target"),
        ("houses", "linear", {"features": ["age", "rent"]}, "features"),
        ("houses", "linear", {"features": ["price"]}, "features"),
        ("line", "linear", {"validation": {"split": "test"}}, "validation.split"),
        ("line", "linear", {"device": "cuda"}, "device"),
    ],
)
def test_a_spec_that_does_not_fit_its_data_is_refused_by_field(
    ask: Ask, dataset: str, model: str, options: dict[str, Any], location: str
):
    assert refused(ask, dataset, model, **options) == location


def test_a_device_that_some_worker_has_may_be_asked_for(ask: Ask):
    assert ask("line", devices=frozenset({"cpu", "cuda"}), device="cuda").requested_device == "cuda"


def test_a_dataset_without_a_target_needs_one_from_the_job(ask: Ask, catalogue: Catalogue):
    catalogue.create(table(), Choices(), "aimless")

    assert refused(ask, "aimless") == "target"
    assert ask("aimless", target="age").spec["features"] == ["town", "price"]


def test_a_validation_dataset_of_other_columns_is_refused(ask: Ask):
    assert refused(ask, "line", validation={"dataset": "houses"}).startswith("validation")


def test_a_fraction_of_one_row_is_refused(ask: Ask, catalogue: Catalogue):
    catalogue.create(SyntheticLinear([1.0], 0.0, rows=1).content(), Choices(), "one")

    assert refused(ask, "one", validation={"fraction": 0.5}).startswith("validation")
