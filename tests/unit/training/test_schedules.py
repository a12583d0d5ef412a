"""Each schedule against its formula, or against torch's."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from app.training.hyperparameters import Hyperparameters
from app.training.schedules import LearningRateSchedule, rates
from tests.unit.training.reference import epochs, line

adapter: TypeAdapter[Any] = TypeAdapter(LearningRateSchedule)


@pytest.mark.parametrize(
    ("declared", "factor"),
    [
        ({"type": "constant"}, lambda t: 1),
        ({"type": "linear"}, lambda t: 1 - t / 8),
        ({"type": "linear", "final": 0.2}, lambda t: 1 - 0.8 * t / 8),
        ({"type": "cosine", "final": 0.1}, lambda t: 0.1 + 0.45 * (1 + math.cos(math.pi * t / 8))),
        ({"type": "step", "every": 3, "gamma": 0.1}, lambda t: 0.1 ** (t // 3)),
        ({"type": "inverse_sqrt"}, lambda t: 1 / math.sqrt(1 + t)),
    ],
)
def test_the_rate_of_a_minibatch_follows_the_formula(declared: dict[str, Any], factor: Any) -> None:
    schedule = adapter.validate_python(declared)
    for epoch in (1, 4, 8):
        expected = [0.5 * factor(epoch - 1 + s / 5) for s in range(5)]
        np.testing.assert_allclose(rates(schedule, 0.5, epoch, 8, 5), expected)


@pytest.mark.parametrize(
    ("declared", "make"),
    [
        ({"type": "step", "every": 2, "gamma": 0.3}, lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.3)),
        ({"type": "cosine"}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 8)),
        ({"type": "linear"}, lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 8)),
    ],
)
def test_an_epoch_starts_at_the_rate_of_torch(declared: dict[str, Any], make: Any) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    theirs, schedule = make(optimizer), adapter.validate_python(declared)
    for epoch in range(1, 9):
        assert rates(schedule, 0.5, epoch, 8, 3)[0] == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_an_epoch_reports_the_rate_it_started_with() -> None:
    given = Hyperparameters(model="linear", epochs=4, learning_rate=0.1, lr_schedule={"type": "linear"})
    assert [epoch.learning_rate for epoch in epochs(line(), given)] == pytest.approx([0.1, 0.075, 0.05, 0.025])
