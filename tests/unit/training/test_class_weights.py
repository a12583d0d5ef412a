"""Class weights against rows that are repeated, and against torch's weighted loss."""

import numpy as np
import pytest
import torch

from app.training.class_weights import resolve
from app.training.errors import UnsuitableOption
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem, Rows
from tests.unit.training.reference import blobs, epochs, epochs_of


def imbalanced(rows: int = 600) -> Problem:
    generator = np.random.default_rng(0)
    labels = (generator.random(rows) < 0.1).astype(np.int32)
    X = generator.normal(0, 1, (rows, 3)) + labels[:, None]
    return Problem(Rows(X.astype(np.float32), labels), None, 2, ("no", "yes"))


def test_balanced_weights_count_every_class_the_same() -> None:
    problem = imbalanced()
    weights = resolve("balanced", problem)
    assert weights is not None
    counts = np.bincount(problem.train.y)
    np.testing.assert_allclose(weights * counts, problem.train.count / 2, rtol=1e-6)


def test_named_classes_have_their_weight_and_the_others_one() -> None:
    np.testing.assert_array_equal(resolve({"yes": 3.0}, imbalanced()), [1, 3])
    with pytest.raises(UnsuitableOption, match="maybe"):
        resolve({"maybe": 1.0}, imbalanced())


@pytest.mark.parametrize("regime", ["compiled", "tiled"])
def test_a_weighted_class_trains_as_if_its_rows_were_repeated(regime: str) -> None:
    problem = imbalanced(200)
    twice = np.concatenate([np.arange(200), np.flatnonzero(problem.train.y)])
    repeated = Problem(Rows(problem.train.X[twice], problem.train.y[twice]), None, 2)
    options = {"model": "softmax", "epochs": 30, "batch_size": 1000, "gradient_reduction": "sum"}
    weighted = epochs_of(regime, problem, Hyperparameters(**options, class_weights={"yes": 2.0}), 1e-3)[-1]
    plain = epochs_of(regime, repeated, Hyperparameters(**options), 1e-3)[-1]
    np.testing.assert_allclose(weighted.parameters.weights, plain.parameters.weights, rtol=1e-4, atol=1e-5)
    assert weighted.train_loss * 200 == pytest.approx(plain.train_loss * len(twice), rel=1e-5)


@pytest.mark.parametrize("regime", ["compiled", "tiled"])
def test_the_weighted_loss_is_that_of_torch(regime: str) -> None:
    problem = blobs(rows=90)
    given = Hyperparameters(
        model="softmax", epochs=1, train_metrics="full", class_weights={"0": 0.5, "1": 2.0, "2": 3.0}
    )
    epoch = epochs_of(regime, problem, given, 0.05)[0]
    z = torch.tensor(problem.train.X @ epoch.parameters.weights + epoch.parameters.bias)
    y, weights = torch.tensor(problem.train.y).long(), torch.tensor([0.5, 2.0, 3.0])
    expected = torch.nn.functional.cross_entropy(z, y, weights, reduction="sum") / 90
    assert epoch.train_loss == pytest.approx(float(expected), rel=1e-5)


def test_balanced_weights_find_the_rare_class() -> None:
    problem = imbalanced()

    def recall(**options: object) -> float:
        parameters = epochs(problem, Hyperparameters(model="softmax", standardize=True, **options))[-1].parameters
        hits = (problem.train.X @ parameters.weights + parameters.bias).argmax(1) == problem.train.y
        return float(hits[problem.train.y == 1].mean())

    assert recall(class_weights="balanced") > recall() + 0.2
    assert recall(class_weights="balanced", l2=1e-3) > 0.7
