"""Which device is chosen, and the arithmetic of the CUDA engine where there is none."""

import numpy as np
import pytest
import torch

from app.training import cost, devices
from app.training.cuda import CudaEngine
from app.training.engine import Engine
from app.training.epoch import Epoch
from app.training.errors import DeviceFailed, DeviceUnavailable
from app.training.fit import fit, run
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem
from tests.unit.training.reference import blobs, engine_of, epochs, line, setting_of, several_targets

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")


def _last(engine: Engine, problem: Problem, given: Hyperparameters) -> Epoch:
    *_, last = run(setting_of(problem, given), engine)
    assert isinstance(last, Epoch)
    return last


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
@pytest.mark.parametrize("loss", ["squared", "mse", "absolute", "huber", "cross_entropy", "pixels"])
def test_the_resident_engine_does_the_same_mathematics(device: str, loss: str) -> None:
    problem = several_targets(rows=120)
    if loss in {"cross_entropy", "pixels"}:
        problem = blobs(rows=120, pixels=loss == "pixels")
        loss = "cross_entropy"
    problem = Problem(problem.train, problem.train, 3)
    given = Hyperparameters(
        model="softmax" if loss == "cross_entropy" else "linear",
        loss=loss,
        epochs=4,
        batch_size=120,  # all rows, so that the engines' different permutations do not matter
        momentum=0.5,
        nesterov=True,
        l1=0.01,
        l2=0.1,
        train_metrics="full",
        learning_rate=0.05,
    )
    setting = setting_of(problem, given)
    theirs = _last(CudaEngine(setting, device), problem, given)
    ours = _last(engine_of("compiled", setting), problem, given)
    np.testing.assert_allclose(theirs.parameters.weights, ours.parameters.weights, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(theirs.parameters.bias, ours.parameters.bias, rtol=1e-4, atol=1e-5)
    assert theirs.train_loss == pytest.approx(ours.train_loss, rel=1e-4)
    assert theirs.validation_loss == pytest.approx(theirs.train_loss, rel=1e-6)
    assert theirs.train_accuracy == ours.train_accuracy


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_the_resident_engine_trains_in_minibatches_and_repeats_its_bits(device: str) -> None:
    problem = line()
    given = Hyperparameters(model="linear", epochs=3, batch_size=10, learning_rate=0.03)
    first, second = (_last(CudaEngine(setting_of(problem, given), device), problem, given) for _ in range(2))
    assert first.train_loss < 1e-3
    assert first.parameters.weights.tobytes() == second.parameters.weights.tobytes()


@needs_cuda
def test_fit_trains_on_the_gpu() -> None:
    done = epochs(line(), Hyperparameters(model="linear", epochs=3, batch_size=10, learning_rate=0.03), "cuda")
    assert done[-1].train_loss < 1e-3


def on(device: str) -> Hyperparameters:
    return Hyperparameters(model="linear", epochs=3, batch_size=10, device=device)


def test_only_steps_are_worth_a_gpu_of_their_own_accord() -> None:
    shape = cost.Shape(3000, 1000, 4096)
    steps, exact = (Hyperparameters(model="linear", solver=solver) for solver in ("sgd", "exact"))
    sweep = Hyperparameters(model="linear", sweep={"learning_rate": [0.1, 0.2]})
    assert [cost.is_worth_a_gpu(each, shape, 50_000_000) for each in (steps, exact, sweep)] == [True, False, False]


def test_the_cpu_comes_first_and_is_always_there() -> None:
    assert devices.available()[0] == "cpu"
    assert devices.choose(on("cpu"), line()) == "cpu"


def test_a_small_problem_stays_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda: ["cpu", "cuda"])
    assert devices.choose(on("auto"), line()) == "cpu"
    assert devices.choose(on("cuda"), line()) == "cuda"


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda: ["cpu"])
    with pytest.raises(DeviceUnavailable):
        devices.choose(on("cuda"), line())


def test_nothing_is_released_where_no_training_was_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: pytest.fail("it starts CUDA"))
    devices.release()


def test_memory_is_released_and_a_gpu_that_has_failed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: asked.append("empty"))
    devices.release()
    assert asked == ["empty"]

    def fail() -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    with pytest.raises(DeviceFailed, match="illegal memory access"):
        devices.release()


@needs_cuda
def test_a_gpu_is_empty_after_its_training() -> None:
    list(fit(line(rows=100_000), Hyperparameters(model="linear", epochs=1), "cuda"))
    devices.release()
    assert torch.cuda.memory_reserved() == 0
    assert torch.cuda.get_device_name() in devices.gpu()
