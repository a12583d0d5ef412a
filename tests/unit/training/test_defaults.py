"""With default options alone every table trains: linear to least squares, softmax to its optimum."""

from pathlib import Path

import numpy as np
import pytest

from app.training.epoch import uninterrupted
from app.training.hyperparameters import Hyperparameters
from app.training.objective import Objective, packed
from app.training.problem import Problem, Rows
from app.training.setting import Setting
from tests.unit.training.reference import epochs
from tests.unit.training.tables import class_tables, held_out, linear_tables, logistic_accuracy, standardised

TABLE = {"standardize": True}


def test_there_are_thirty_tables(real_data: Path) -> None:
    assert len(linear_tables(real_data)) + len(class_tables(real_data)) == 30


def test_linear_ends_within_a_thousandth_of_least_squares(real_data: Path) -> None:
    excess = {}
    for name, (X, y) in linear_tables(real_data).items():
        problem = standardised(X, y)
        last = epochs(problem, Hyperparameters(model="linear", **TABLE))[-1]
        best = epochs(problem, Hyperparameters(model="linear", solver="exact", **TABLE))[-1]
        assert np.isfinite(last.parameters.weights).all(), name
        excess[name] = last.train_loss / best.train_loss - 1
    assert {name: value for name, value in excess.items() if value > 1e-3} == {}


def objective(problem: Problem, l2: float, **options: object) -> float:
    """The penalised objective where a training ends."""
    parameters = epochs(problem, Hyperparameters(model="softmax", l2=l2, **TABLE, **options))[-1].parameters
    plain = Setting.of(problem, Hyperparameters(model="softmax", learning_rate=1.0))
    found = uninterrupted(Objective(plain, problem.train).at(packed(parameters), gradient=False))
    return found.loss + l2 / 2 * float((parameters.weights.astype(np.float64) ** 2).sum())


def test_softmax_with_l2_ends_within_a_hundredth_of_its_optimum(real_data: Path) -> None:
    excess = {}
    for name, (X, y) in class_tables(real_data).items():
        problem = standardised(X, y)
        excess[name] = objective(problem, 1e-3) / objective(problem, 1e-3, solver="lbfgs") - 1
    assert {name: value for name, value in excess.items() if value > 1e-2} == {}


def test_softmax_without_a_penalty_predicts_as_well_as_scikit_learn(real_data: Path) -> None:
    behind = {}
    for name, (X, y) in class_tables(real_data).items():
        scores = []
        for seed in range(3):
            train, test = held_out(X, y, seed)
            mean, std = train[0].mean(0), np.where(train[0].std(0) > 0, train[0].std(0), 1)
            X1, X2 = ((part - mean) / std for part in (train[0], test[0]))
            problem = Problem(
                Rows(np.ascontiguousarray(X1, np.float32), train[1].astype(np.int32)),
                Rows(np.ascontiguousarray(X2, np.float32), test[1].astype(np.int32)),
                int(y.max()) + 1,
            )
            last = epochs(problem, Hyperparameters(model="softmax", seed=seed, **TABLE))[-1]
            scores.append((last.validation_accuracy or 0) - logistic_accuracy(train, test))
        behind[name] = float(np.mean(scores))
    assert {name: value for name, value in behind.items() if value < -0.01} == {}


def test_images_reach_the_text_with_defaults(real_data: Path) -> None:
    from tests.unit.training.test_fashion_mnist import _split

    folder = real_data / "fashion-mnist"
    last = epochs(Problem(_split(folder, "train"), _split(folder, "t10k"), 10), Hyperparameters(model="softmax"))[-1]
    assert last.number == 10
    assert last.train_loss < 0.45
    assert (last.validation_accuracy or 0) > 0.83


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_gives_the_same_bits_in_a_frame(seed: int, real_data: Path) -> None:
    problem = standardised(*linear_tables(real_data)["rare categories"])
    first, second = (epochs(problem, Hyperparameters(model="linear", seed=seed, **TABLE))[-1] for _ in range(2))
    assert first.parameters.weights.tobytes() == second.parameters.weights.tobytes()
