"""A training that goes on from a state ends with the bits of one that was never interrupted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from app.training.epoch import Epoch
from app.training.fit import fit
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem
from app.training.state import State
from tests.unit.training.reference import blobs, epochs, epochs_of, several_targets

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True, "lr_schedule": {"type": "cosine"}},
    "penalties": {"l1": 0.01, "l2": 0.1, "lr_schedule": {"type": "step", "every": 2}},
}


def through_a_file(state: State, folder: Path) -> State:
    """The state after it was written and read."""
    arrays, scalars = state.to_arrays()
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "state.safetensors")
    return State.from_arrays(load_file(folder / "state.safetensors"), json.loads(json.dumps(scalars)))


def bits(epoch: Epoch) -> tuple[Any, ...]:
    """Everything that an epoch reports."""
    return (
        epoch.number,
        epoch.train_loss,
        epoch.validation_loss,
        epoch.learning_rate,
        *(array.tobytes() for array in epoch.state.to_arrays()[0].values()),
    )


@pytest.mark.parametrize("regime", ["compiled", "tiled", "team"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("kind", ["classes", "targets"])
def test_a_resumed_training_ends_with_the_same_bits(
    regime: str, options: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    rows = blobs(rows=101).train if kind == "classes" else several_targets(rows=101).train
    problem, model = Problem(rows, rows, 3), "softmax" if kind == "classes" else "linear"
    given = Hyperparameters(model=model, epochs=5, batch_size=16, seed=3, **options)
    whole = epochs_of(regime, problem, given, 0.01)
    for done in (1, 4):
        state = through_a_file(whole[done - 1].state, tmp_path)
        rest = epochs_of(regime, problem, given, 0.01, state)
        assert [bits(epoch) for epoch in rest] == [bits(epoch) for epoch in whole[done:]]


def test_fit_goes_on_from_a_state() -> None:
    problem, given = blobs(), Hyperparameters(model="softmax", epochs=4, momentum=0.5)
    whole = epochs(problem, given)
    rest = [step for step in fit(problem, given, resume=whole[1].state) if isinstance(step, Epoch)]
    assert [bits(epoch) for epoch in rest] == [bits(epoch) for epoch in whole[2:]]


@pytest.mark.parametrize("given", [{"momentum": 0.5}, {"solver": "lbfgs", "l2": 0.1}], ids=["sgd", "lbfgs"])
def test_a_training_in_a_frame_goes_on_in_the_same_frame(given: dict[str, Any], tmp_path: Path) -> None:
    problem = several_targets(rows=101)
    options = Hyperparameters(model="linear", precondition="whiten", epochs=6, **given)
    whole = epochs(problem, options)
    state = through_a_file(whole[2].state, tmp_path)
    assert state.model is not state.parameters
    rest = [step for step in fit(problem, options, resume=state) if isinstance(step, Epoch)]
    assert [bits(epoch) for epoch in rest] == [bits(epoch) for epoch in whole[3:]]


@pytest.mark.parametrize("features", [8, 30])
@pytest.mark.parametrize("given", [{}, {"l2": 0.1}, {"solver": "lbfgs"}, {"sweep": {"momentum": [0.0, 0.5]}}], ids=str)
def test_a_frame_keeps_its_bits_for_a_single_output_too(given: dict[str, Any], features: int, tmp_path: Path) -> None:
    """A product with a vector sums in another order where a matrix lies otherwise in memory."""
    problem = several_targets(rows=301, features=features, outputs=1)
    options = Hyperparameters(model="linear", precondition="whiten", epochs=6, **given)
    whole = epochs(problem, options)
    state = through_a_file([epoch for epoch in whole if epoch.number == 1][-1].state, tmp_path)
    rest = [step for step in fit(problem, options, resume=state) if isinstance(step, Epoch)]
    assert [bits(epoch) for epoch in rest] == [bits(epoch) for epoch in whole if epoch.number > 1]


def test_nothing_is_left_to_do_after_the_last_epoch() -> None:
    problem, given = blobs(), Hyperparameters(model="softmax", epochs=2)
    last = epochs(problem, given)[-1]
    assert list(fit(problem, given, resume=last.state)) == []
    assert last.state.model is last.parameters
