"""Coefficients as scikit-learn and statsmodels find them, on real tables and random ones, to 1e-4."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import Lasso, LogisticRegression, Ridge

from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem
from tests.unit.training.reference import epochs
from tests.unit.training.tables import class_tables, linear_tables, standardised

LINEAR = ("housing", "diabetes", "friedman 1")
CLASSES = ("penguins", "five classes", "many rows")


def table(real_data: Path, name: str) -> Problem:
    return standardised(*(linear_tables(real_data) | class_tables(real_data))[name])


def trained(problem: Problem, **options: Any) -> np.ndarray:
    return epochs(problem, Hyperparameters(**options))[-1].parameters.weights.astype(np.float64)


def assert_near(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Each coefficient to 1e-4 of itself."""
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("solver", ["exact", "lbfgs"])
def test_ridge(name: str, solver: str, real_data: Path) -> None:
    problem = table(real_data, name)
    X, y = problem.train.X.astype(np.float64), problem.train.y.astype(np.float64)
    ours = trained(problem, model="linear", solver=solver, l2=0.01, standardize=True)
    assert_near(ours, Ridge(alpha=0.01 * len(X)).fit(X, y).coef_.reshape(1, -1).T)


@pytest.mark.parametrize(("name", "share", "epochs", "rate"), [
    ("diabetes", 0.05, 3000, 0.05), ("friedman 1", 0.05, 3000, 0.05), ("housing", 0.01, 1000, 0.2),
])  # fmt: skip
def test_lasso(name: str, share: float, epochs: int, rate: float, real_data: Path) -> None:
    problem = table(real_data, name)
    X, y = problem.train.X.astype(np.float64), problem.train.y.astype(np.float64)
    l1 = share * float(y.std())
    ours = trained(
        problem, model="linear", l1=l1, epochs=epochs, batch_size=len(X), momentum=0.95, learning_rate=rate,
        lr_schedule={"type": "constant"}, train_metrics="running",
    )  # fmt: skip
    theirs = Lasso(alpha=l1, tol=1e-12, max_iter=100_000).fit(X, y).coef_
    assert_near(ours, theirs[:, None])
    np.testing.assert_array_equal(ours[:, 0] == 0, theirs == 0)
    assert_near(trained(problem, model="linear", solver="lbfgs", l1=l1, standardize=True), theirs[:, None])


@pytest.mark.parametrize("name", CLASSES)
def test_logistic_regression_with_l2(name: str, real_data: Path) -> None:
    problem = table(real_data, name)
    X, y = problem.train.X.astype(np.float64), problem.train.y
    theirs = LogisticRegression(C=1 / (0.01 * len(X)), tol=1e-10, max_iter=10_000).fit(X, y)
    assert_near(trained(problem, model="softmax", solver="lbfgs", l2=0.01, standardize=True), theirs.coef_.T)


def test_two_classes_are_one_logistic_regression(real_data: Path) -> None:
    """Their weights are w and −w, so that w − (−w) bears half the penalty."""
    problem = table(real_data, "housing, dear or not")
    X, y = problem.train.X.astype(np.float64), problem.train.y
    ours = trained(problem, model="softmax", solver="lbfgs", l2=0.01, standardize=True)
    theirs = LogisticRegression(C=1 / (0.005 * len(X)), tol=1e-10, max_iter=10_000, solver="newton-cholesky").fit(X, y)
    assert_near(ours[:, 1] - ours[:, 0], theirs.coef_[0])


@pytest.mark.parametrize("name", ["five classes", "penguins"])
def test_logistic_regression_with_l1(name: str, real_data: Path) -> None:
    problem = table(real_data, name)
    X, y = problem.train.X.astype(np.float64), problem.train.y
    given = {"epochs": 4000, "batch_size": len(X), "momentum": 0.9, "learning_rate": 0.2}
    ours = trained(problem, model="softmax", l1=0.01, init={"type": "zeros"}, **given)
    theirs = LogisticRegression(C=1 / (0.01 * len(X)), l1_ratio=1.0, solver="saga", tol=1e-9, max_iter=20_000).fit(X, y)
    assert_near(ours, theirs.coef_.T)
    assert_near(trained(problem, model="softmax", solver="lbfgs", l1=0.01, standardize=True), theirs.coef_.T)


@pytest.mark.parametrize("name", ["housing", "diabetes"])
def test_ordinary_least_squares(name: str, real_data: Path) -> None:
    problem = table(real_data, name)
    design = sm.add_constant(problem.train.X.astype(np.float64))
    if name == "housing":
        design = design[:, :-1]  # the last level follows from the others
    fitted = sm.OLS(problem.train.y[:, 0].astype(np.float64), design).fit()
    last = epochs(problem, Hyperparameters(model="linear", solver="exact"))[-1].parameters
    predictions = problem.train.X @ last.weights + last.bias
    np.testing.assert_allclose(predictions[:, 0], fitted.fittedvalues, rtol=1e-4, atol=1e-6 * fitted.fittedvalues.std())
