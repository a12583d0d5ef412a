"""The spec of a job: what is refused before anybody looks at the data."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.identifiers import new_id
from app.jobs.spec import Spec


def spec(**options: Any) -> Spec:
    return Spec.model_validate({"dataset": "houses", "model": "linear", **options})


def test_a_dataset_and_a_model_are_enough():
    asked = spec()

    assert (asked.dataset, asked.model, asked.target, asked.features, asked.validation) == (
        "houses", "linear", None, None, None,
    )  # fmt: skip
    assert asked.learning_rate == "auto"


@pytest.mark.parametrize("name", ["dataset", "model"])
def test_a_dataset_and_a_model_are_needed(name: str):
    given = {"dataset": "houses", "model": "linear"}
    del given[name]

    with pytest.raises(ValidationError, match=name):
        Spec.model_validate(given)


@pytest.mark.parametrize(
    "validation",
    [
        None,
        {"split": "test"},
        {"fraction": 0.2},
        {"dataset": "other"},
    ],
)
def test_rows_to_validate_on_are_named_in_one_of_four_ways(validation: dict[str, Any] | None):
    assert spec(validation=validation).validation == validation


@pytest.mark.parametrize(
    "validation",
    [
        {},
        {"split": "train"},
        {"split": "test", "fraction": 0.2},
        {"fraction": 0},
        {"fraction": 1},
        {"fraction": -0.5},
        {"fraction": "0.2"},
        {"fraction": True},
        {"fraction": float("nan")},
        {"fraction": None},
        {"dataset": 1},
        {"dataset": None},
        {"rows": 10},
        "test",
    ],
    ids=str,
)
def test_any_other_way_is_refused(validation: Any):
    with pytest.raises(ValidationError, match="validation"):
        spec(validation=validation)


@pytest.mark.parametrize(
    "options",
    [
        {"target": ""},
        {"target": 3},
        {"target": ["y", 3]},
        {"features": []},
        {"features": "x1"},
        {"features": [""]},
        {"dataset": 1},
        {"dataset": "x" * 201},
        {"model_name": "a b"},
        {"model_name": "fashion:2"},
        {"model_name": "fashion@champion"},
        {"model_name": ""},
        {"learning_rat": 0.1},
        {"epochs": "3"},
    ],
    ids=str,
)
def test_what_is_no_option_or_no_value_of_one_is_refused_by_name(options: dict[str, Any]):
    with pytest.raises(ValidationError, match=next(iter(options))):
        spec(**options)


def test_no_model_is_named_like_an_id_because_it_could_not_be_found_by_that_name():
    with pytest.raises(ValidationError, match="model_name"):
        spec(model_name=new_id())


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValidationError):
        spec().target = "y"  # type: ignore[misc]
