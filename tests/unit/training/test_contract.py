"""What every combination of model, loss, solver and device promises."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from app.training.applicability import LOSSES, SOLVER_LOSSES
from app.training.epoch import Epoch, uninterrupted
from app.training.hyperparameters import Hyperparameters
from app.training.objective import Objective, packed, unpacked
from app.training.problem import Problem, Rows
from app.training.setting import Setting
from tests.unit.training.reference import blobs, epochs, several_targets, slopes

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"))
COMBINATIONS = [
    (model, loss, solver)
    for model, losses in LOSSES.items()
    for loss in losses
    for solver, suited in SOLVER_LOSSES.items()
    if loss in suited and not (solver == "exact" and model == "softmax")
]
every_combination = pytest.mark.parametrize(("model", "loss", "solver"), COMBINATIONS)
every_device = pytest.mark.parametrize("device", ["cpu", CUDA])


def problem_of(model: str) -> Problem:
    if model == "linear":
        return several_targets(rows=120)
    generator = np.random.default_rng(4)
    noisy = blobs(rows=120, seed=4)
    labels = np.where(generator.random(120) < 0.2, generator.integers(0, 3, 120), noisy.train.y).astype(np.int32)
    return Problem(Rows(noisy.train.X, labels), None, 3)


def trained(model: str, loss: str, solver: str, device: str, problem: Problem | None = None, **options: Any) -> Epoch:
    device = "cpu" if solver != "sgd" else device
    given = Hyperparameters(model=model, loss=loss, solver=solver, **options)
    return epochs(problem or problem_of(model), given, device)[-1]


def loss_of(problem: Problem, loss: str, weights: Any, bias: Any) -> float:
    z = problem.train.X.astype(np.float64) @ weights + bias
    return float(slopes(loss, z, problem.train.y)[0].mean())


@every_combination
@every_device
def test_the_same_seed_gives_the_same_bits(model: str, loss: str, solver: str, device: str) -> None:
    first, second = (trained(model, loss, solver, device, seed=7) for _ in range(2))
    assert first.parameters.weights.tobytes() == second.parameters.weights.tobytes()
    assert first.parameters.bias.tobytes() == second.parameters.bias.tobytes()
    assert first.train_loss == second.train_loss


@every_combination
@every_device
def test_saved_and_loaded_parameters_predict_the_same(
    model: str, loss: str, solver: str, device: str, tmp_path: Path
) -> None:
    problem, parameters = problem_of(model), trained(model, loss, solver, device).parameters
    save_file({"weights": np.ascontiguousarray(parameters.weights), "bias": parameters.bias}, tmp_path / "p")
    loaded = load_file(tmp_path / "p")
    expected = problem.train.X @ parameters.weights + parameters.bias
    np.testing.assert_array_equal(problem.train.X @ loaded["weights"] + loaded["bias"], expected)


@every_combination
@every_device
def test_the_loss_falls_and_is_that_of_the_parameters(model: str, loss: str, solver: str, device: str) -> None:
    problem, last = problem_of(model), trained(model, loss, solver, device, **_full(solver))
    at_start = loss_of(problem, loss, np.zeros((problem.train.features, 3)), np.zeros(3))
    assert last.train_loss < 0.9 * at_start
    own = loss_of(problem, loss, last.parameters.weights, last.parameters.bias)
    assert last.train_loss == pytest.approx(own, rel=1e-4)


@every_combination
@every_device
def test_permuted_rows_change_nothing_at_full_batch(model: str, loss: str, solver: str, device: str) -> None:
    problem = problem_of(model)
    order = np.random.default_rng(1).permutation(120)
    permuted = Problem(Rows(problem.train.X[order], problem.train.y[order]), None, 3)
    options: dict[str, Any] = {"batch_size": 120, "epochs": 20} if solver == "sgd" else {}
    # The absolute loss jumps where a residual changes its sign, and so may a rounded sum.
    tolerance = 1e-2 if loss == "absolute" else 1e-4
    first, second = (trained(model, loss, solver, device, of, **options).parameters for of in (problem, permuted))
    np.testing.assert_allclose(first.weights, second.weights, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(first.bias, second.bias, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("model", "loss"), sorted({(model, loss) for model, loss, _ in COMBINATIONS}))
def test_the_gradient_is_that_of_finite_differences(model: str, loss: str) -> None:
    problem = problem_of(model)
    setting = Setting.of(problem, Hyperparameters(model=model, loss=loss, learning_rate=1.0))
    theta = np.random.default_rng(0).normal(0, 0.3, (problem.train.features + 1, 3))
    found = uninterrupted(Objective(setting, problem.train).at(theta))
    np.testing.assert_array_equal(packed(unpacked(theta)), theta)
    for place in [(0, 0), (2, 1), (problem.train.features, 2)]:
        nudge = np.zeros(theta.shape)
        nudge[place] = 1e-6
        ahead, behind = (loss_of(problem, loss, t[:-1], t[-1]) for t in (theta + nudge, theta - nudge))
        assert found.gradient[place] == pytest.approx((ahead - behind) / 2e-6, rel=1e-4, abs=1e-5)


def _full(solver: str) -> dict[str, Any]:
    return {"train_metrics": "full"} if solver == "sgd" else {}
