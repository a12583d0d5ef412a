"""L-BFGS: the optimum that scikit-learn and the exact solver find, and its history."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from app.training import cost, objective
from app.training.epoch import Epoch, uninterrupted
from app.training.fit import fit
from app.training.hyperparameters import Hyperparameters
from app.training.objective import Objective
from app.training.optimum import Objectives, objectives
from app.training.problem import Problem, Rows
from app.training.setting import Setting
from tests.unit.training.reference import blobs, epochs, several_targets, slopes


@pytest.mark.parametrize("precondition", ["none", "whiten"])
@pytest.mark.parametrize("weights", [None, "balanced"])
def test_softmax_with_l2_is_scikit_learns_logistic_regression(precondition: str, weights: str | None) -> None:
    problem = blobs(rows=400, seed=2)
    l2 = 0.01
    given = Hyperparameters(model="softmax", solver="lbfgs", l2=l2, precondition=precondition, class_weights=weights)
    last = epochs(problem, given)[-1]
    theirs = LogisticRegression(C=1 / (400 * l2), tol=1e-10, max_iter=10_000, class_weight=weights)
    theirs.fit(problem.train.X.astype(np.float64), problem.train.y)
    np.testing.assert_allclose(last.parameters.weights, theirs.coef_.T, rtol=1e-4, atol=1e-5)
    centred = last.parameters.bias - last.parameters.bias.mean()
    np.testing.assert_allclose(centred, theirs.intercept_ - theirs.intercept_.mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", ["squared", "mse"])
def test_linear_ends_where_the_exact_solver_ends(loss: str) -> None:
    problem = several_targets(rows=300)
    exact = epochs(problem, Hyperparameters(model="linear", solver="exact", l2=0.1, loss=loss))[-1]
    last = epochs(problem, Hyperparameters(model="linear", solver="lbfgs", l2=0.1, loss=loss))[-1]
    np.testing.assert_allclose(last.parameters.weights, exact.parameters.weights, rtol=1e-6)
    assert last.train_loss == pytest.approx(exact.train_loss, rel=1e-7)


def test_the_huber_loss_is_minimised_better_than_by_steps() -> None:
    problem = several_targets(rows=300, outputs=1)
    last = epochs(problem, Hyperparameters(model="linear", solver="lbfgs", loss="huber"))[-1]
    steps = epochs(problem, Hyperparameters(model="linear", loss="huber", epochs=100))[-1]
    assert last.train_loss <= steps.train_loss + 1e-6


def house_prices(rows: int = 2000) -> Problem:
    """Correlated features, and a target in hundreds of thousands with a heavy tail."""
    generator = np.random.default_rng(4)
    X = generator.normal(0, 1, (rows, 6)) @ generator.normal(0, 1, (6, 6))
    y = 2e4 * X @ generator.normal(0, 1, 6) + 5e4 * generator.standard_t(2, rows)
    X = (X - X.mean(0)) / X.std(0)
    return Problem(Rows(X.astype(np.float32), y.astype(np.float32)[:, None]), None, 1)


@pytest.mark.parametrize("options", [{}, {"precondition": "whiten"}, {"l2": 0.01}], ids=str)
def test_the_huber_loss_of_targets_in_the_hundreds_of_thousands_comes_to_its_optimum(options: dict[str, Any]) -> None:
    problem = house_prices()
    done = epochs(problem, Hyperparameters(model="linear", solver="lbfgs", loss="huber", **options))
    *_, found = objectives(problem, done[-1].parameters, done[-1].options)
    assert isinstance(found, Objectives)
    assert (done[-1].converged, found.gap <= 1e-8 * found.optimum) == (True, True)
    assert done[min(30, len(done)) - 1].train_loss == pytest.approx(done[-1].train_loss, rel=0.02)


@pytest.mark.parametrize("loss", ["squared", "mse", "huber"])
@pytest.mark.parametrize("unit", [1e-20, 1e5, 1e15, 1e25])
def test_no_unit_of_the_target_ends_the_search_early(loss: str, unit: float) -> None:
    problem = several_targets(rows=200, outputs=1)
    y = (problem.train.y.astype(np.float64) * unit).astype(np.float32)
    scaled = Problem(replace(problem.train, y=y), None, 1)
    last = epochs(scaled, Hyperparameters(model="linear", solver="lbfgs", loss=loss, precondition="none"))[-1]
    assert last.converged
    exact = epochs(scaled, Hyperparameters(model="linear", solver="exact"))[-1]
    # The huber loss is squared for tiny targets, and absolute for huge ones.
    near = 0.2 if loss == "huber" and unit > 1 else 1e-5
    np.testing.assert_allclose(last.parameters.weights / unit, exact.parameters.weights / unit, rtol=near, atol=near)


def test_a_search_that_its_iterations_end_says_so() -> None:
    done = epochs(house_prices(200), Hyperparameters(model="linear", solver="lbfgs", loss="huber", epochs=4))
    assert [epoch.converged for epoch in done] == [False] * 4
    steps = epochs(house_prices(200), Hyperparameters(model="linear", epochs=1))
    assert steps[-1].converged is None


def test_what_goes_on_from_an_optimum_has_nothing_to_do() -> None:
    problem, given = several_targets(rows=100), Hyperparameters(model="linear", solver="lbfgs")
    last = epochs(problem, given)[-1]
    assert last.converged
    assert list(fit(problem, given, resume=last.state)) == []


def test_the_objective_falls_from_row_to_row_and_the_search_ends_by_itself() -> None:
    rows = blobs(rows=300).train
    given = Hyperparameters(model="softmax", solver="lbfgs", l2=0.01)
    done = epochs(Problem(rows, rows, 3), given)
    assert 3 < len(done) < 100
    assert [epoch.number for epoch in done] == list(range(1, len(done) + 1))
    assert done[-1].train_loss < done[0].train_loss
    assert done[-1].validation_loss == pytest.approx(done[-1].train_loss)
    assert done[-1].train_accuracy == done[-1].validation_accuracy


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_it_goes_on_from_a_state_with_the_same_bits(penalty: str) -> None:
    options = {"solver": "lbfgs", "epochs": 12, penalty: 0.01}
    problem, given = blobs(rows=300), Hyperparameters(model="softmax", **options)
    whole = epochs(problem, given)
    rest = [step for step in fit(problem, given, resume=whole[4].state) if isinstance(step, Epoch)]
    assert [epoch.train_loss for epoch in rest] == [epoch.train_loss for epoch in whole[5:]]
    assert rest[-1].parameters.weights.tobytes() == whole[-1].parameters.weights.tobytes()


def test_separable_classes_end_with_finite_weights() -> None:
    X = np.array([[-1.0], [-2.0], [1.0], [2.0]], np.float32)
    last = epochs(
        Problem(Rows(X, np.array([0, 0, 1, 1], np.int32)), None, 2), Hyperparameters(model="softmax", solver="lbfgs")
    )[-1]
    assert last.train_accuracy == 1
    assert np.isfinite(last.parameters.weights).all()


@pytest.mark.parametrize("loss", ["squared", "mse", "absolute", "huber", "cross_entropy", "pixels"])
@pytest.mark.parametrize("precise", [True, False])
def test_the_gradient_is_that_of_the_straightforward_formula(
    loss: str, precise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = several_targets(rows=90)
    if loss in {"cross_entropy", "pixels"}:
        problem, loss = blobs(rows=90, pixels=loss == "pixels"), "cross_entropy"
    if not precise:
        monkeypatch.setattr(objective, "PRECISE_ENTRIES", 0)
    monkeypatch.setattr(objective, "BLOCK_ENTRIES", 100)
    given = Hyperparameters(model="softmax" if loss == "cross_entropy" else "linear", loss=loss)
    theta = np.random.default_rng(0).normal(0, 0.3, (problem.train.features + 1, 3))
    found = uninterrupted(Objective(Setting.of(problem, given), problem.train).at(theta))
    X = problem.train.X.astype(np.float64) * problem.train.scale
    values, slope = slopes(loss, X @ theta[:-1] + theta[-1], problem.train.y)
    assert found.loss == pytest.approx(values.mean(), rel=1e-5)
    np.testing.assert_allclose(found.gradient[:-1], X.T @ slope / 90, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.gradient[-1], slope.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["softmax", "pixels", "linear"])
@pytest.mark.parametrize("members", [1, 3])
def test_sums_in_float32_are_those_in_float64_however_many_threads_there_are(
    kind: str, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "members", lambda *_: members)
    monkeypatch.setattr(objective, "TILED_ENTRIES", 6 * 70)  # several blocks, the last a smaller one
    problem = several_targets(rows=301) if kind == "linear" else blobs(rows=301, pixels=kind == "pixels")
    setting = Setting.of(problem, Hyperparameters(model="linear" if kind == "linear" else "softmax", solver="lbfgs"))
    theta = np.random.default_rng(0).normal(0, 0.5, (problem.train.features + 1, problem.outputs))
    quick = uninterrupted(Objective(setting, problem.train, precise=False).at(theta))
    precise = uninterrupted(Objective(setting, problem.train, precise=True).at(theta))
    assert quick.loss == pytest.approx(precise.loss, rel=1e-6)
    assert quick.accuracy == precise.accuracy
    np.testing.assert_allclose(quick.gradient, precise.gradient, rtol=1e-5, atol=1e-6)


def test_a_constant_column_costs_no_digit_however_large_it_is() -> None:
    generator = np.random.default_rng(0)
    X = np.column_stack([generator.normal(size=200), np.full(200, 1.7e12)]).astype(np.float32)
    y = (X[:, :1] + 0.1 * generator.normal(size=(200, 1))).astype(np.float32)
    problem = Problem(Rows(X, y), None, 1)
    without = epochs(Problem(Rows(X[:, :1].copy(), y), None, 1), Hyperparameters(model="linear", solver="exact"))[-1]
    for options in ({}, {"l1": 1e-6}):
        last = epochs(problem, Hyperparameters(model="linear", solver="lbfgs", **options))[-1]
        assert last.parameters.weights[1, 0] == 0
        assert last.train_loss == pytest.approx(without.train_loss, rel=1e-6)


@pytest.mark.parametrize("unit", [1.0, 1e6, 1e12])
def test_convergence_does_not_depend_on_the_unit_of_a_feature(unit: float) -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(400, 2))
    y = (X @ [[3.0], [2.0]] + generator.normal(size=(400, 1))).astype(np.float32)
    problem = Problem(Rows((X * [unit, 1]).astype(np.float32), y), None, 1)
    last = epochs(problem, Hyperparameters(model="linear", solver="lbfgs", standardize=False))[-1]
    exact = epochs(problem, Hyperparameters(model="linear", solver="exact", standardize=False))[-1]
    assert last.converged
    np.testing.assert_allclose(last.parameters.weights, exact.parameters.weights, rtol=1e-6)
