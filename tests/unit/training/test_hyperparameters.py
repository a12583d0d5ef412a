"""The declarations: bounds, what applies to what, the defaults that are filled in."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from app.training.hyperparameters import Hyperparameters
from app.training.schedules import ConstantSchedule, LinearSchedule


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"epochs": True},
        {"epochs": "3"},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": -0.1},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"learning_rate": "fast"},
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"l1": -1.0},
        {"l2": float("inf")},
        {"seed": -1},
        {"seed": 2**53},
        {"lr_schedule": {"type": "sawtooth"}},
        {"lr_schedule": {"type": "step", "every": 0}},
        {"lr_schedule": {"type": "constant", "gamma": 0.5}},
        {"init": {"type": "normal", "std": float("nan")}},
        {"init": {"type": "zeros", "std": 1.0}},
        {"model": "forest"},
        {"solver": "magic"},
        {"device": "tpu"},
        {"learning_rat": 0.1},
        {"loss": "cross_entropy"},
        {"nesterov": True},
    ],
    ids=str,
)
def test_what_is_out_of_range_or_does_not_apply_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Hyperparameters(**{"model": "linear", **options})


@pytest.mark.parametrize("options", [
    {"loss": "absolute"}, {"gradient_reduction": "sum", "l2": 0.1}, {"gradient_reduction": "sum", "l1": 0.1},
    {"gradient_reduction": "sum", "sweep": {"l2": [0.0, 0.1]}},
], ids=str)  # fmt: skip
def test_a_gap_is_refused_where_there_is_no_optimum_to_find(options: dict[str, Any]) -> None:
    Hyperparameters(model="linear", **options)
    with pytest.raises(ValidationError, match="optimality_gap does not apply"):
        Hyperparameters(model="linear", optimality_gap=True, **options)


def test_a_residual_loss_does_not_apply_to_softmax() -> None:
    with pytest.raises(ValidationError, match="use cross_entropy"):
        Hyperparameters(model="softmax", loss="squared")


def test_defaults_follow_the_model_and_the_rows() -> None:
    linear = Hyperparameters(model="linear").effective(1000)
    softmax = Hyperparameters(model="softmax").effective(60_000)
    assert (linear.loss, linear.train_metrics, linear.epochs, linear.batch_size) == ("squared", "full", 600, 32)
    assert (softmax.loss, softmax.train_metrics, softmax.epochs, softmax.batch_size) == (
        "cross_entropy",
        "running",
        10,
        256,
    )
    assert softmax.learning_rate == "auto"


@pytest.mark.parametrize("rows", [1, 2, 3, 10**9])
def test_defaults_are_within_bounds_for_any_number_of_rows(rows: int) -> None:
    effective = Hyperparameters(model="linear").effective(rows)
    assert Hyperparameters.model_validate(effective.model_dump()) == effective


def test_what_was_given_is_kept() -> None:
    given = Hyperparameters(
        model="linear", epochs=3, batch_size=7, loss="mse", train_metrics="running", lr_schedule={"type": "cosine"}
    )
    assert given.effective(1000) == given


def test_a_rate_that_is_given_stays_and_the_automatic_one_falls() -> None:
    given, automatic = Hyperparameters(model="linear", learning_rate=0.1), Hyperparameters(model="linear")
    assert given.effective(100).lr_schedule == ConstantSchedule()
    assert automatic.effective(100).lr_schedule == LinearSchedule(type="linear")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "softmax", "solver": "exact"}, "use sgd or lbfgs"),
        ({"solver": "exact", "epochs": 3}, "epochs does not apply"),
        ({"solver": "exact", "loss": "huber"}, "use sgd or lbfgs"),
        ({"solver": "lbfgs", "loss": "absolute"}, "use sgd"),
        ({"solver": "exact", "l1": 0.1}, "l1 does not apply"),
        ({"solver": "lbfgs", "learning_rate": 0.1}, "learning_rate does not apply"),
        ({"tf32": True, "device": "cpu"}, "tf32 does not apply"),
        ({"tf32": True, "solver": "lbfgs"}, "tf32 does not apply"),
        ({"tf32": True, "sweep": {"l2": [0.1]}}, "tf32 does not apply"),
        ({"precondition": "whiten", "l1": 0.1}, "does not apply with l1"),
        ({"class_weights": "balanced"}, "do not apply to linear"),
        ({"model": "softmax", "class_weights": {"a": 0.0}}, "greater than 0"),
        ({"early_stopping": {"metric": "train_accuracy"}}, "does not apply to linear"),
        ({"early_stopping": {"patience": 0}}, "greater than or equal"),
        ({"time_limit_seconds": 0}, "greater than 0"),
        ({"init": {"type": "model"}}, "required"),
    ],
)
def test_an_option_that_does_not_apply_says_so(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Hyperparameters(**{"model": "linear", **options})


@pytest.mark.parametrize("given", [{"solver": "exact"}, {"solver": "lbfgs"}, {"early_stopping": {}}, {"l2": 0.1}])
def test_what_is_settled_can_be_read_in_again(given: dict[str, Any]) -> None:
    effective = Hyperparameters(model="linear", **given).effective(500)
    assert Hyperparameters.model_validate(effective.model_dump(mode="json")) == effective


def test_effective_options_can_be_read_in_again_from_json() -> None:
    effective = Hyperparameters(model="softmax", lr_schedule={"type": "cosine"}, momentum=0.9).effective(100)
    assert Hyperparameters.model_validate_json(effective.model_dump_json()) == effective


def test_every_option_has_a_description_and_an_example_that_is_valid() -> None:
    for name, field in Hyperparameters.model_fields.items():
        assert field.description, name
        assert field.examples, name
    examples = {name: (field.examples or [None])[0] for name, field in Hyperparameters.model_fields.items()}
    assert Hyperparameters(**examples).model == "softmax"


def test_the_declarations_import_neither_torch_nor_numba() -> None:
    program = "import sys, app.training.hyperparameters; print({'torch', 'numba'} & set(sys.modules))"
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "set()"
