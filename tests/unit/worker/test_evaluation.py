"""The metrics of a finished model, against scikit-learn's."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from app.training.problem import Parameters, Problem, Rows
from app.worker import evaluation
from app.worker.evaluation import evaluate

generator = np.random.default_rng(0)


def parameters(features: int, outputs: int, scale: float = 1.0) -> Parameters:
    weights = generator.normal(scale=scale, size=(features, outputs)).astype(np.float32)
    return Parameters(weights, generator.normal(scale=scale, size=outputs).astype(np.float32))


def linear(rows: int, outputs: int = 1) -> Rows:
    X = generator.normal(size=(rows, 3)).astype(np.float32)
    return Rows(
        X, (X @ generator.normal(size=(3, outputs)) + generator.normal(size=(rows, outputs))).astype(np.float32)
    )


def pixels(rows: int) -> Rows:
    X = generator.integers(0, 256, (rows, 12)).astype(np.uint8)
    return Rows(X, generator.integers(0, 4, rows).astype(np.int32), 1 / 255)


def outputs(rows: Rows, given: Parameters) -> NDArray[np.float64]:
    return rows.X.astype(np.float64) * rows.scale @ given.weights.astype(np.float64) + given.bias


@pytest.fixture(params=[7, 16_384])
def _block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that end within the rows, and one that holds them all."""
    monkeypatch.setattr(evaluation, "BLOCK_ROWS", request.param)


@pytest.mark.usefixtures("_block")
def test_a_linear_model_is_measured_as_scikit_learn_measures_it():
    rows, given = linear(100), parameters(3, 1)
    y_hat = outputs(rows, given)

    found = evaluate(Problem(rows, None, 1), given)

    mse = metrics.mean_squared_error(rows.y, y_hat)
    assert found == {
        "train": pytest.approx(
            {
                "mse": mse,
                "rmse": mse**0.5,
                "mae": metrics.mean_absolute_error(rows.y, y_hat),
                "r2": metrics.r2_score(rows.y, y_hat),
            },
            rel=1e-5,
        )
    }


@pytest.mark.usefixtures("_block")
def test_a_softmax_model_is_measured_as_scikit_learn_measures_it():
    rows, given = pixels(100), parameters(12, 4)
    logits = outputs(rows, given)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    found = evaluate(Problem(rows, None, 4), given)

    assert found == {
        "train": pytest.approx(
            {
                "cross_entropy": metrics.log_loss(rows.y, probabilities, labels=range(4)),
                "accuracy": metrics.accuracy_score(rows.y, logits.argmax(axis=1)),
            },
            rel=1e-5,
        )
    }


def test_several_targets_are_measured_together():
    rows, given = linear(50, outputs=2), parameters(3, 2)
    y_hat = outputs(rows, given)

    found = evaluate(Problem(rows, None, 2), given)["train"]

    assert found["mse"] == pytest.approx(metrics.mean_squared_error(rows.y, y_hat), rel=1e-5)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(rows.y, y_hat), rel=1e-5)


def test_the_validation_rows_are_measured_on_their_own():
    train, validation, given = linear(50), linear(20), parameters(3, 1)

    found = evaluate(Problem(train, validation, 1), given)

    assert found["train"] == evaluate(Problem(train, None, 1), given)["train"]
    assert found["validation"] == evaluate(Problem(validation, None, 1), given)["train"]
    assert found["train"] != found["validation"]


def test_a_constant_target_has_no_variance_to_explain():
    rows = Rows(np.ones((5, 3), np.float32), np.full((5, 1), 7.0, np.float32))

    found = evaluate(Problem(rows, None, 1), Parameters(np.zeros((3, 1), np.float32), np.zeros(1, np.float32)))

    assert found == {"train": {"mse": 49.0, "rmse": 7.0, "mae": 7.0}}


def test_large_logits_do_not_overflow():
    rows = Rows(np.full((2, 1), 1000.0, np.float32), np.array([0, 1], np.int32))
    given = Parameters(np.array([[1000.0, -1000.0]], np.float32), np.zeros(2, np.float32))

    found = evaluate(Problem(rows, None, 2), given)["train"]

    assert found == {"cross_entropy": pytest.approx(1e6), "accuracy": 0.5}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("rows", [linear(5), pixels(5)], ids=["linear", "softmax"])
@pytest.mark.parametrize("scale", [1e20, 1e38])
def test_the_metrics_of_a_model_that_diverged_are_numbers_that_json_carries(rows: Rows, scale: float):
    count = 1 if rows.y.ndim == 2 else 4
    weights = np.full((rows.features, count), scale, np.float32) * np.array([1, -1] * 2)[:count].astype(np.float32)

    found: Any = evaluate(Problem(rows, None, count), Parameters(weights, np.zeros(count, np.float32)))

    assert json.loads(json.dumps(found, allow_nan=False)) == found
