"""The optimum and the gap to it, against scikit-learn and the solvers that end there."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Lasso, LogisticRegression, Ridge

from app.training import objective
from app.training.epoch import Epoch, Pause
from app.training.hyperparameters import Hyperparameters
from app.training.optimality import optimality
from app.training.optimum import Objectives, objectives
from app.training.problem import Problem, Rows
from tests.unit.training.reference import blobs, epochs, several_targets, slopes


def found(problem: Problem, last: Epoch) -> Objectives:
    *_, objective_values = objectives(problem, last.parameters, last.options)
    assert isinstance(objective_values, Objectives)
    return objective_values


def penalised(problem: Problem, loss: str, W: np.ndarray, b: np.ndarray, l1: float = 0.0, l2: float = 0.0) -> float:
    X = problem.train.X.astype(np.float64) * problem.train.scale
    losses, _ = slopes(loss, X @ W.astype(np.float64) + b, problem.train.y)
    return float(losses.mean() + l2 / 2 * (W.astype(np.float64) ** 2).sum() + l1 * np.abs(W.astype(np.float64)).sum())


STEPS: dict[str, Any] = {"epochs": 2, "batch_size": 32, "learning_rate": 0.02}


def sklearns_optimum(problem: Problem, options: dict[str, Any]) -> float:
    X, y, n = problem.train.X.astype(np.float64), problem.train.y, problem.train.count
    l1, l2 = options.get("l1", 0.0), options.get("l2", 0.0)
    if options["model"] == "linear":
        theirs = (Lasso(alpha=l1, tol=1e-12, max_iter=100_000) if l1 else Ridge(alpha=l2 * n)).fit(X, y)
        return penalised(problem, "squared", theirs.coef_.reshape(problem.outputs, -1).T, theirs.intercept_, l1, l2)
    own = {"l1_ratio": 1.0, "solver": "saga"} if l1 else {}
    theirs = LogisticRegression(C=1 / ((l1 or l2) * n), tol=1e-10, max_iter=20_000, **own).fit(X, y)
    return penalised(problem, "cross_entropy", theirs.coef_.T, theirs.intercept_, l1, l2)


@pytest.mark.parametrize("precise_entries", [4_000_000, 0], ids=["in float64", "first in float32"])
@pytest.mark.parametrize("options", [
    {"model": "linear", "l2": 0.1}, {"model": "linear", "l1": 0.1},
    {"model": "softmax", "l2": 0.01}, {"model": "softmax", "l1": 0.01},
], ids=str)  # fmt: skip
def test_the_gap_is_what_separates_from_scikit_learns_optimum(
    options: dict[str, Any], precise_entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "PRECISE_ENTRIES", precise_entries)
    problem = blobs(rows=300) if options["model"] == "softmax" else several_targets(rows=200, outputs=1)
    last = epochs(problem, Hyperparameters(**options, **STEPS))[-1]
    loss = "cross_entropy" if options["model"] == "softmax" else "squared"
    penalties = {name: value for name, value in options.items() if name != "model"}
    own = penalised(problem, loss, last.parameters.weights, last.parameters.bias, **penalties)
    values = found(problem, last)
    optimum = sklearns_optimum(problem, options)
    assert values.trained == pytest.approx(own, rel=1e-9)
    assert values.optimum == pytest.approx(optimum, rel=1e-7)
    assert values.gap == pytest.approx(own - optimum, rel=1e-4)
    assert values.slope < 1e-5


@pytest.mark.parametrize("options", [
    {"model": "linear", "solver": "exact"}, {"model": "linear", "solver": "exact", "loss": "mse", "l2": 0.3},
    {"model": "linear", "solver": "lbfgs", "loss": "huber"}, {"model": "linear", "solver": "lbfgs", "l1": 0.2},
    {"model": "softmax", "solver": "lbfgs", "l2": 0.01, "class_weights": "balanced"},
], ids=str)  # fmt: skip
def test_a_solver_that_ends_at_the_optimum_has_no_gap(options: dict[str, Any]) -> None:
    problem = blobs(rows=300) if options["model"] == "softmax" else several_targets(rows=200)
    values = found(problem, epochs(problem, Hyperparameters(**options))[-1])
    assert 0 <= values.gap <= 1e-10 * values.optimum


def test_what_is_reported_holds_together() -> None:
    problem = blobs(rows=200)
    last = epochs(problem, Hyperparameters(model="softmax", l2=0.1, early_stopping={"patience": 1}, **STEPS))[-1]
    values = found(problem, last)
    near = optimality(problem, last.parameters, last.options, values)
    assert near["gap"] == near["objective"] - near["optimum"] > 0
    assert near["optimum_gradient_norm"] < 1e-6 < near["gradient_norm"]
    assert near["gap"] <= near["gradient_norm"] ** 2 / (2 * 0.1)  # as strong convexity has it
    assert set(optimality(problem, last.parameters, last.options)) == {"gradient_norm"}


def test_a_table_with_dependent_columns_has_an_optimum_too() -> None:
    rows = several_targets(rows=150).train
    problem = Problem(Rows(np.hstack([rows.X, rows.X[:, :2]]), rows.y), None, 3)
    last = epochs(problem, Hyperparameters(model="linear", **STEPS))[-1]
    design = np.column_stack([rows.X, np.ones(150)]).astype(np.float64)
    residuals = rows.y - design @ np.linalg.lstsq(design, rows.y.astype(np.float64), rcond=None)[0]
    assert found(problem, last).optimum == pytest.approx((residuals**2).sum() / 300, rel=1e-9)


def test_pauses_come_all_along() -> None:
    problem = blobs(rows=300)
    last = epochs(problem, Hyperparameters(model="softmax", l2=0.01, **STEPS))[-1]
    *pauses, _ = objectives(problem, last.parameters, last.options)
    assert len(pauses) > 5
    assert all(isinstance(pause, Pause) for pause in pauses)
