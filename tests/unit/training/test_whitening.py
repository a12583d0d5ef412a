"""Preconditioning: the frame against linear algebra, and training in it against the optimum of the features."""

import numpy as np
import pytest

from app.training.epoch import Epoch
from app.training.fit import fit
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Parameters, Problem, Rows
from app.training.whitening import Frame
from tests.unit.training.reference import blobs, epochs, several_targets


def collinear(rows: int = 400, seed: int = 0) -> Problem:
    """Columns from 1e-3 to 1e3, nearly dependent ones, one that is the sum of two, and a constant."""
    generator = np.random.default_rng(seed)
    base = generator.normal(5, 1, (rows, 4))
    X = np.column_stack([base[:, 0] * 1e-3, base[:, 1] * 1e3, base, base[:, :1] + 1e-2 * base[:, 1:2]])
    X = np.column_stack([X, X[:, 2] + X[:, 3], np.full(rows, 7.0)])
    y = X[:, 2:5] @ np.array([[1.0], [-2.0], [3.0]]) + 1e4 + generator.normal(0, 1, (rows, 1))
    return Problem(Rows(X.astype(np.float32), y.astype(np.float32)), None, 1)


def least_squares_loss(problem: Problem) -> float:
    X = np.column_stack([problem.train.X, np.ones(problem.train.count)]).astype(np.float64)
    X /= np.linalg.norm(X, axis=0)
    y = problem.train.y.astype(np.float64)
    residuals = X @ np.linalg.lstsq(X, y, rcond=1e-6)[0] - y  # float32 has rounded the dependent columns
    return float((residuals**2).sum() / 2 / len(y))


def test_whitened_features_are_uncorrelated_with_variance_one() -> None:
    problem = collinear()
    Z = Frame.of(problem.train, None, 0.0, 1).problem(problem).train.X.astype(np.float64)
    assert Z.shape[1] < problem.train.features - 1
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(Z.T @ Z / len(Z), np.eye(Z.shape[1]), atol=1e-4)


def test_folded_parameters_predict_what_the_frame_predicts_and_unfold_undoes_it() -> None:
    problem = collinear()
    frame = Frame.of(problem.train, None, 0.0, 1)
    framed = frame.problem(problem)
    inside = Parameters(np.random.default_rng(1).normal(size=(frame.axes.shape[1], 1)).astype(np.float32), np.ones(1))
    outside = frame.fold(inside)
    expected = framed.train.X @ inside.weights + inside.bias + frame.target_mean
    np.testing.assert_allclose(problem.train.X @ outside.weights + outside.bias, expected, atol=2e-2)
    again = frame.unfold(outside)
    np.testing.assert_allclose(again.weights, inside.weights, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(again.bias, inside.bias, atol=1e-3)


@pytest.mark.parametrize("loss", ["squared", "mse"])
def test_defaults_end_at_the_least_squares_loss_where_features_are_dependent(loss: str) -> None:
    problem = collinear()
    last = epochs(problem, Hyperparameters(model="linear", loss=loss, precondition="whiten"))[-1]
    factor = 2 if loss == "mse" else 1
    assert last.train_loss == pytest.approx(factor * least_squares_loss(problem), rel=1e-3)
    assert last.options.precondition == "whiten"
    assert isinstance(last.options.learning_rate, float)


def test_the_penalty_acts_on_the_weights_of_the_features() -> None:
    problem = several_targets(rows=2000, features=6)
    l2 = 0.3
    last = epochs(problem, Hyperparameters(model="linear", l2=l2, precondition="whiten", epochs=200))[-1]
    X, y = problem.train.X.astype(np.float64), problem.train.y.astype(np.float64)
    centred = X - X.mean(0)
    expected = np.linalg.solve(centred.T @ centred / len(X) + l2 * np.eye(6), centred.T @ (y - y.mean(0)) / len(X))
    np.testing.assert_allclose(last.parameters.weights, expected, atol=1e-2)


def test_auto_whitens_tables_and_leaves_the_rest_as_it_is() -> None:
    def chosen(problem: Problem, **options: object) -> tuple[str, float | None]:
        settled = epochs(problem, Hyperparameters(epochs=1, **options))[-1].options
        return settled.precondition, settled.momentum

    table, classes, images = several_targets(), blobs(), blobs(pixels=True)
    assert chosen(table, model="linear", standardize=True) == ("whiten", 0.0)
    assert chosen(table, model="linear", standardize=False) == ("none", 0.9)
    assert chosen(table, model="linear", standardize=True, learning_rate=0.01) == ("none", 0.0)
    assert chosen(table, model="linear", standardize=True, l1=0.1) == ("none", 0.9)
    assert chosen(classes, model="softmax", standardize=True) == ("none", 0.9)
    assert chosen(classes, model="softmax", standardize=True, l2=0.01) == ("whiten", 0.0)
    assert chosen(images, model="softmax", standardize=True, l2=0.01) == ("none", 0.9)


def test_what_was_chosen_gives_the_same_bits_when_it_is_asked_for() -> None:
    problem = collinear()
    first = epochs(problem, Hyperparameters(model="linear", standardize=True, epochs=3))[-1]
    second = epochs(problem, first.options)[-1]
    assert second.parameters.weights.tobytes() == first.parameters.weights.tobytes()
    assert second.options == first.options


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_features_that_do_not_vary_leave_the_mean_of_the_targets(solver: str) -> None:
    rows = Rows(np.full((30, 2), 5, np.float32), np.arange(30, dtype=np.float32)[:, None])
    options = Hyperparameters(model="linear", solver=solver, standardize=True)
    parameters = epochs(Problem(rows, None, 1), options)[-1].parameters
    assert (parameters.weights == 0).all()
    np.testing.assert_allclose(parameters.bias, 14.5, rtol=0.02)


def test_a_penalty_does_not_drop_a_feature_for_its_unit() -> None:
    generator = np.random.default_rng(0)
    X = np.column_stack([generator.normal(size=500), 1e5 * generator.normal(size=500)]).astype(np.float32)
    y = (3 * X[:, :1] + 1e-5 * X[:, 1:] + 0.1 * generator.normal(size=(500, 1))).astype(np.float32)
    problem, ridge = Problem(Rows(X, y), None, 1), {"model": "linear", "l2": 1e-3, "standardize": False}
    exact = epochs(problem, Hyperparameters(**ridge, solver="exact"))[-1].parameters.weights
    for solver in ("sgd", "lbfgs"):
        found = epochs(problem, Hyperparameters(**ridge, solver=solver, precondition="whiten"))[-1].parameters.weights
        np.testing.assert_allclose(found, exact, rtol=2e-3)


def test_a_direction_without_variance_is_dropped_with_a_penalty_too() -> None:
    levels = np.eye(3, dtype=np.float32)[np.arange(300) % 3]
    frame = Frame.of(Rows(levels, np.zeros((300, 1), np.float32)), None, 0.01, 1)
    assert frame.axes.shape == (3, 2)


def with_sentinels(share: float, value: float = 1e9) -> Problem:
    """A line with heavy tails; a share of the targets is not known, and was written as one large number."""
    generator = np.random.default_rng(9)
    X = generator.normal(size=(500, 3))
    y = X @ [2, -1, 0.5] + 3 + generator.standard_t(3, size=500)
    y[: int(500 * share)] = value
    return Problem(Rows(X.astype(np.float32), y.astype(np.float32)[:, None]), None, 1)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_a_few_huge_targets_cost_the_others_no_digit_where_the_loss_is_bounded(share: float) -> None:
    problem, options = with_sentinels(share), {"model": "linear", "solver": "lbfgs", "loss": "huber"}
    plain, framed = (
        epochs(problem, Hyperparameters(**options, precondition=precondition))[-1]
        for precondition in ("none", "whiten")
    )
    assert framed.converged
    np.testing.assert_allclose(framed.parameters.weights, plain.parameters.weights, rtol=1e-3)
    np.testing.assert_allclose(framed.parameters.weights[:, 0], [2, -1, 0.5], atol=0.25)


@pytest.mark.parametrize("loss", ["squared", "mse", "huber", "absolute"])
def test_targets_are_centred_by_what_the_loss_is_drawn_to(loss: str) -> None:
    rows = with_sentinels(0.5).train
    centre = Frame.of(rows, None, 0.0, 1, loss).target_mean
    drawn_to = np.sort(rows.y, axis=0)[249, 0] if loss in ("huber", "absolute") else rows.y.mean(dtype=np.float64)
    assert centre.tolist() == [drawn_to]


def test_a_training_by_a_bounded_loss_goes_on_to_the_same_bits() -> None:
    problem, options = (
        with_sentinels(0.2),
        Hyperparameters(model="linear", solver="lbfgs", loss="huber", standardize=True),
    )
    done = epochs(problem, options)
    rest = [step for step in fit(problem, done[-1].options, resume=done[9].state) if isinstance(step, Epoch)]
    assert rest[-1].parameters.weights.tobytes() == done[-1].parameters.weights.tobytes()
