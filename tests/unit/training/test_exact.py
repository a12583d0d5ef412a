"""The exact solver against NumPy's least squares, scikit-learn's Ridge, and data that is short of full rank."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem, Rows
from tests.unit.training.reference import epochs, several_targets


def solved(problem: Problem, **options: object) -> tuple[np.ndarray, np.ndarray]:
    done = epochs(problem, Hyperparameters(model="linear", solver="exact", **options))
    assert [epoch.number for epoch in done] == [1]
    return done[0].parameters.weights, done[0].parameters.bias


def test_it_is_the_least_squares_solution_in_float64() -> None:
    problem = several_targets(rows=500)
    weights, bias = solved(problem)
    theirs = LinearRegression().fit(problem.train.X.astype(np.float64), problem.train.y.astype(np.float64))
    np.testing.assert_allclose(weights, theirs.coef_.T, rtol=1e-11)
    np.testing.assert_allclose(bias, theirs.intercept_, rtol=1e-10)


@pytest.mark.parametrize(("loss", "factor"), [("squared", 1.0), ("mse", 0.5)])
def test_with_l2_it_is_ridge(loss: str, factor: float) -> None:
    problem = several_targets(rows=500)
    weights, bias = solved(problem, l2=0.2, loss=loss)
    theirs = Ridge(alpha=0.2 * 500 * factor).fit(problem.train.X.astype(np.float64), problem.train.y)
    np.testing.assert_allclose(weights, theirs.coef_.T, rtol=1e-6)
    np.testing.assert_allclose(bias, theirs.intercept_, rtol=1e-6)


def test_an_offset_and_a_unit_cost_no_digits() -> None:
    generator = np.random.default_rng(0)
    X = (generator.normal(0, 1, (800, 3)) * [1e-6, 1.0, 1e6] + [1.0, 1e4, 0.0]).astype(np.float32)
    y = (X.astype(np.float64) @ [[1e6], [2.0], [3e-6]] + generator.normal(0, 0.1, (800, 1))).astype(np.float32)
    weights, bias = solved(Problem(Rows(X, y), None, 1))
    design = np.column_stack([X.astype(np.float64) - X.mean(0, dtype=np.float64), np.ones(800)])
    design[:, :3] /= design[:, :3].std(0)
    expected = np.linalg.lstsq(design, y.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(weights[:, 0] * X.std(0, dtype=np.float64), expected[:3, 0], rtol=1e-6)
    np.testing.assert_allclose(X @ weights + bias, design @ expected, atol=1e-2)


def test_dependent_columns_get_the_solution_of_least_norm() -> None:
    generator = np.random.default_rng(1)
    X = generator.normal(0, 1, (300, 3))
    X = np.column_stack([X, X[:, 0], np.full(300, 5.0)]).astype(np.float32)
    y = (X[:, :1] * 4 + generator.normal(0, 0.1, (300, 1))).astype(np.float32)
    weights, _ = solved(Problem(Rows(X, y), None, 1))
    centred = X - X.mean(0, dtype=np.float64)
    expected = np.linalg.pinv(centred) @ (y - y.mean(dtype=np.float64))
    np.testing.assert_allclose(weights, expected, atol=1e-7)
    assert weights[0] == pytest.approx(weights[3])
    assert weights[4] == 0


def test_fewer_rows_than_columns_are_fitted_to_the_last() -> None:
    problem = several_targets(rows=10, features=30)
    weights, bias = solved(problem)
    np.testing.assert_allclose(problem.train.X @ weights + bias, problem.train.y, atol=1e-5)


def test_losses_are_those_of_the_solution() -> None:
    rows = several_targets(rows=200).train
    done = epochs(Problem(rows, rows, 3), Hyperparameters(model="linear", solver="exact"))[0]
    residuals = rows.X @ done.parameters.weights + done.parameters.bias - rows.y
    assert done.train_loss == pytest.approx((residuals**2).sum() / 400, rel=1e-6)
    assert done.validation_loss == done.train_loss


@pytest.mark.parametrize(("difference", "is_kept"), [(5e-6, False), (3e-5, True)])
@pytest.mark.parametrize("solver", ["exact", "lbfgs"])
def test_columns_depend_on_each_other_below_a_ten_billionth_of_their_variance(
    solver: str, difference: float, is_kept: bool
) -> None:
    generator = np.random.default_rng(9)
    x, other, noise = generator.normal(size=(3, 500))
    X = np.column_stack([x, x + difference * other]).astype(np.float32)
    problem = Problem(Rows(X, (x + noise).astype(np.float32)[:, None]), None, 1)
    weights = epochs(problem, Hyperparameters(model="linear", solver=solver, standardize=True))[-1].parameters.weights
    assert bool(abs(weights[0, 0] - weights[1, 0]) > 1) == is_kept


@pytest.mark.parametrize(
    ("options", "is_least"),
    [({"precondition": "whiten"}, True), ({"init": {"type": "zeros"}}, True), ({}, False)],
    ids=str,
)
def test_a_search_among_dependent_columns_ends_at_the_least_norm_in_a_frame_or_from_zeros(
    options: dict[str, Any], is_least: bool
) -> None:
    x = np.random.default_rng(9).normal(size=(500, 1)).astype(np.float32)
    problem = Problem(Rows(np.hstack([x, x]), x + x**2), None, 1)
    given = {"model": "linear", "solver": "lbfgs", "precondition": "none", **options}
    weights = epochs(problem, Hyperparameters(**given))[-1].parameters.weights
    assert (weights[0, 0] == pytest.approx(weights[1, 0], rel=1e-6)) == is_least
