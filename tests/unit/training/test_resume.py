"""A training that resumes has the bits of one that was never interrupted."""

import numpy as np
import pytest

from app.training.epoch import Epoch
from app.training.fit import fit
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem, Rows
from app.training.state import State

RANDOM = np.random.default_rng(0)


def rows(count: int, features: int, classes: int, pixels: bool = False) -> Rows:
    labels = RANDOM.integers(0, classes, count).astype(np.int32)
    if pixels:
        return Rows(RANDOM.integers(0, 256, (count, features), np.uint8), labels, 1 / 255)
    return Rows(RANDOM.standard_normal((count, features), np.float32), labels)


def line(count: int, features: int, targets: int) -> Problem:
    X = RANDOM.standard_normal((count, features), np.float32)
    return Problem(Rows(X, RANDOM.standard_normal((count, targets), np.float32)), None, targets)


PROBLEMS = {
    "a line in the small regime": (line(100, 3, 2), {"model": "linear", "lr_schedule": {"type": "cosine"}}),
    "a line in the large regime": (line(300, 400, 3), {"model": "linear", "learning_rate": 1e-3, "l2": 0.1}),
    "classes in the small regime": (Problem(rows(90, 4, 3), rows(20, 4, 3), 3), {"model": "softmax"}),
    "classes in the large regime": (
        Problem(rows(600, 300, 10, pixels=True), rows(50, 300, 10, pixels=True), 10),
        {"model": "softmax", "l1": 1e-4, "lr_schedule": {"type": "linear"}},
    ),
}
OPTIONS = {"epochs": 7, "batch_size": 16, "learning_rate": 0.02, "momentum": 0.9, "nesterov": True, "seed": 3}


def epochs(problem: Problem, options: Hyperparameters, device: str, resume: State | None = None) -> list[Epoch]:
    return [step for step in fit(problem, options, device, resume=resume) if isinstance(step, Epoch)]


@pytest.mark.parametrize("device", ["cpu", "torch"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_it_ends_with_the_same_bits(name: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if device == "torch":
        # The CUDA engine's arithmetic, on the CPU.
        from app.training import cuda

        engine = cuda.CudaEngine
        monkeypatch.setattr(cuda, "CudaEngine", lambda setting, _: engine(setting, "cpu"))
    problem, own = PROBLEMS[name]
    options = Hyperparameters.model_validate({**OPTIONS, **own})
    whole = epochs(problem, options, device)

    kept = None
    for step in fit(problem, options, device):
        if isinstance(step, Epoch) and step.number == 3:
            kept = State.from_arrays({name: values.copy() for name, values in step.state.to_arrays().items()})
            break
    resumed = epochs(problem, options, device, kept)

    assert [epoch.number for epoch in resumed] == [4, 5, 6, 7]
    for one, other in zip(whole[3:], resumed, strict=True):
        assert (one.train_loss, one.validation_loss) == (other.train_loss, other.validation_loss)
        assert one.learning_rate == other.learning_rate
        assert one.parameters.weights.tobytes() == other.parameters.weights.tobytes()
        assert one.parameters.bias.tobytes() == other.parameters.bias.tobytes()
