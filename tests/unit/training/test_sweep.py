"""Sweeps: each candidate trains as if it were alone, diverging ones are dropped, the best one is left."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from app.training import cost
from app.training.epoch import Epoch
from app.training.errors import Diverged
from app.training.fit import fit
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Parameters, Problem, Rows
from app.training.sweep import Sweep
from tests.unit.training.reference import blobs, epochs, epochs_of, several_targets


def validated(kind: str) -> Problem:
    make = several_targets if kind == "linear" else blobs
    pixels = {"pixels": True} if kind == "pixels" else {}
    rows = make(rows=190, seed=1, **pixels).train
    return Problem(Rows(rows.X[:130], rows.y[:130], rows.scale), Rows(rows.X[130:], rows.y[130:], rows.scale), 3)


def curves(problem: Problem, **options: Any) -> dict[int, list[Epoch]]:
    found: dict[int, list[Epoch]] = {}
    for epoch in epochs(problem, Hyperparameters(**options)):
        found.setdefault(epoch.candidate, []).append(epoch)
    return found


def test_the_grid_has_every_combination_and_a_random_sweep_some_of_them() -> None:
    grid = Sweep(learning_rate=[0.1, 0.2], l2=[0.0, 0.1, 0.2])
    assert len(grid.candidates(0)) == 6
    assert {"learning_rate": 0.2, "l2": 0.1} in grid.candidates(0)
    some = Sweep(learning_rate=[0.1, 0.2], l2=[0.0, 0.1, 0.2], random={"candidates": 4})
    drawn = some.candidates(1)
    assert len(drawn) == 4 == len({tuple(one.items()) for one in drawn})
    assert drawn == some.candidates(1)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"learning_rate": []},
        {"learning_rate": [0.0]},
        {"momentum": [1.0]},
        {"epochs": [3]},
        {"learning_rate": [0.1] * 17, "l2": [0.1] * 16},
        {"random": {"candidates": 3}},
        {"l2": [0.0], "random": {"candidates": 257}},
    ],
    ids=str,
)
def test_a_sweep_that_cannot_be_trained_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Hyperparameters(model="linear", sweep=given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.1}, "given twice"),
        ({"momentum": 0.5}, "given twice"),
        ({"l2": 0.5}, "given twice"),
        ({"early_stopping": {}}, "early_stopping does not apply"),
        ({"device": "cuda"}, "cpu"),
        ({"solver": "lbfgs"}, "sweep does not apply"),
    ],
)
def test_what_does_not_go_with_a_sweep_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Hyperparameters(model="linear", sweep={"learning_rate": [0.1], "momentum": [0.0], "l2": [0.0]}, **options)


@pytest.mark.parametrize("kind", ["softmax", "pixels", "linear"])
@pytest.mark.parametrize("train_metrics", ["running", "full"])
@pytest.mark.parametrize("members", [1, 3])
def test_each_candidate_trains_as_if_it_were_alone(
    kind: str, train_metrics: str, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "members", lambda *_: members)
    problem, model = validated(kind), "linear" if kind == "linear" else "softmax"
    shared = {"model": model, "epochs": 4, "batch_size": 16, "train_metrics": train_metrics, "l1": 0.001}
    sweep = {"learning_rate": [0.01, 0.03], "l2": [0.0, 0.1], "momentum": [0.0, 0.5]}
    found = curves(problem, sweep=sweep, **shared)
    assert len(found) == 8
    for number, given in enumerate(Sweep(**sweep).candidates(0)):
        alone = epochs_of("tiled", problem, Hyperparameters(**{**shared, **given}), given["learning_rate"])
        for ours, theirs in zip(found[number], alone, strict=True):
            assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
            assert ours.validation_loss == pytest.approx(theirs.validation_loss, rel=1e-4)
            assert ours.train_accuracy == theirs.train_accuracy
            assert ours.learning_rate == pytest.approx(theirs.learning_rate)


def test_the_best_on_validation_becomes_the_model() -> None:
    problem = validated("softmax")
    options = {"model": "softmax", "epochs": 5, "batch_size": 16}
    last = epochs(problem, Hyperparameters(sweep={"learning_rate": [1e-5, 0.1, 1e-4]}, **options))[-1]
    alone = epochs_of("tiled", problem, Hyperparameters(learning_rate=0.1, **options), 0.1)[-1]
    assert last.candidate == 1
    np.testing.assert_allclose(last.parameters.weights, alone.parameters.weights, rtol=1e-4, atol=1e-5)
    assert last.leaderboard is not None
    assert [line["candidate"] for line in last.leaderboard] == [1, 2, 0]
    assert last.leaderboard[0]["options"] == {"learning_rate": 0.1}


def test_a_candidate_that_diverges_is_dropped_and_the_others_go_on() -> None:
    problem = validated("linear")
    found = curves(problem, model="linear", epochs=40, batch_size=16, sweep={"learning_rate": [0.01, 1e4]})
    assert len(found[0]) == 40
    assert len(found.get(1, [])) < 40
    assert np.isfinite(found[0][-1].train_loss)
    assert found[0][-1].leaderboard is not None
    assert found[0][-1].leaderboard[1]["diverged_in_epoch"] >= 1
    alone = epochs_of(
        "tiled", problem, Hyperparameters(model="linear", epochs=40, batch_size=16, learning_rate=0.01), 0.01
    )
    np.testing.assert_allclose(found[0][-1].parameters.weights, alone[-1].parameters.weights, rtol=1e-4)


def test_a_sweep_of_which_nothing_is_left_diverges() -> None:
    given = Hyperparameters(model="linear", epochs=100, sweep={"learning_rate": [1e5, 1e6]})
    with pytest.raises(Diverged) as caught:
        epochs(validated("linear"), given)
    assert caught.value.learning_rate_to_try < 1
    assert np.isfinite(caught.value.parameters.weights).all()


def test_a_sweep_that_goes_on_remembers_what_diverged_before() -> None:
    problem = validated("linear")
    given = Hyperparameters(model="linear", epochs=9, batch_size=16, sweep={"learning_rate": [0.01, 10.0]})
    whole = epochs(problem, given)
    (_, lost) = whole[-1].leaderboard or []
    assert 1 < lost["diverged_in_epoch"] < 7
    assert lost["train_loss"] is not None
    state = [epoch for epoch in whole if epoch.number == 7][-1].state
    rest = [step for step in fit(problem, given, resume=state) if isinstance(step, Epoch)]
    assert rest[-1].leaderboard == whole[-1].leaderboard


def test_a_sweep_goes_on_from_a_model_whitened_or_not() -> None:
    problem = validated("linear")
    exact = epochs(problem, Hyperparameters(model="linear", solver="exact"))[-1]
    start = Parameters(exact.parameters.weights.astype(np.float32), exact.parameters.bias.astype(np.float32))
    problem = Problem(problem.train, problem.validation, problem.outputs, start=start)
    for precondition in ("whiten", "none"):
        found = curves(
            problem, model="linear", standardize=True, precondition=precondition, epochs=1, learning_rate=1e-6,
            sweep={"momentum": [0.0, 0.5]}, init={"type": "model", "model": "line:1"},
        )  # fmt: skip
        assert [curve[0].train_loss for curve in found.values()] == pytest.approx([exact.train_loss] * 2, rel=1e-4)


def test_seeds_start_from_different_weights_and_share_the_minibatches() -> None:
    found = curves(validated("softmax"), model="softmax", epochs=2, sweep={"seed": [0, 1]}, learning_rate=0.01)
    assert found[0][0].train_loss != found[1][0].train_loss


def test_open_rates_are_settled_for_each_candidate_and_tables_are_whitened() -> None:
    problem = validated("linear")
    last = epochs(problem, Hyperparameters(model="linear", standardize=True, sweep={"momentum": [0.0, 0.5]}))[-1]
    assert last.options.precondition == "whiten"
    assert last.leaderboard is not None
    rates = {line["options"]["momentum"]: line["options"]["learning_rate"] for line in last.leaderboard}
    assert rates[0.0] != rates[0.5]
    least = epochs(problem, Hyperparameters(model="linear", solver="exact"))[-1]
    assert last.leaderboard[0]["train_loss"] == pytest.approx(least.train_loss, rel=0.02)


def test_a_sweep_goes_on_from_a_state_with_the_same_bits() -> None:
    problem = validated("linear")
    given = Hyperparameters(
        model="linear", epochs=6, batch_size=16, sweep={"learning_rate": [0.01, 0.02, 1e6], "momentum": [0.0, 0.9]}
    )
    whole = epochs(problem, given)
    state = [epoch for epoch in whole if epoch.number == 3][-1].state
    rest = [step for step in fit(problem, given, resume=state) if isinstance(step, Epoch)]
    expected = [(epoch.candidate, epoch.train_loss) for epoch in whole if epoch.number > 3]
    assert [(epoch.candidate, epoch.train_loss) for epoch in rest] == expected
    assert rest[-1].parameters.weights.tobytes() == whole[-1].parameters.weights.tobytes()
