"""Early stopping: when it stops, and which weights it leaves."""

import numpy as np
import pytest

from app.training.epoch import Epoch
from app.training.errors import Diverged, UnsuitableOption
from app.training.fit import fit
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem, Rows
from tests.unit.training.reference import blobs, epochs


def overfitted() -> Problem:
    """Few rows of many features, and others to validate on: the validation loss soon rises."""
    generator = np.random.default_rng(3)
    truth = np.zeros((40, 1))
    truth[:3] = 1.0

    def rows(count: int) -> Rows:
        X = generator.normal(size=(count, 40))
        y = X @ truth + generator.normal(0, 2, (count, 1))
        return Rows(X.astype(np.float32), y.astype(np.float32))

    return Problem(rows(45), rows(200), 1)


STOPPING = {"model": "linear", "epochs": 200, "learning_rate": 0.01, "batch_size": 5}


def test_it_stops_after_its_patience_and_restores_the_best_epoch() -> None:
    problem = overfitted()
    full = epochs(problem, Hyperparameters(**STOPPING))
    done = epochs(problem, Hyperparameters(**STOPPING, early_stopping={"patience": 4}))
    best = min(done, key=lambda epoch: epoch.validation_loss or 0)
    assert len(done) == best.number + 4 < 200
    assert done[-1].state.best_epoch == best.number
    assert done[-1].parameters.weights.tobytes() == full[best.number - 1].parameters.weights.tobytes()
    assert done[-1].state.best_value == best.validation_loss
    assert done[-1].options.early_stopping is not None
    assert done[-1].options.early_stopping.metric == "validation_loss"


def test_a_gain_below_min_delta_does_not_count() -> None:
    done = epochs(overfitted(), Hyperparameters(**STOPPING, early_stopping={"patience": 3, "min_delta": 1e9}))
    assert [len(done), done[-1].state.best_epoch] == [4, 1]


def test_accuracies_are_watched_upwards() -> None:
    rows = blobs(rows=400).train
    given = {"model": "softmax", "epochs": 50, "early_stopping": {"patience": 5, "metric": "validation_accuracy"}}
    done = epochs(Problem(rows, rows, 3), Hyperparameters(**given))
    assert done[-1].state.best_value == max(epoch.validation_accuracy or 0 for epoch in done)


def test_a_stopped_training_goes_on_from_a_state_with_the_same_bits() -> None:
    problem, given = overfitted(), Hyperparameters(**STOPPING, early_stopping={"patience": 4})
    whole = epochs(problem, given)
    for done in (1, len(whole) - 2):
        rest = [step for step in fit(problem, given, resume=whole[done - 1].state) if isinstance(step, Epoch)]
        assert len(rest) == len(whole) - done
        assert rest[-1].parameters.weights.tobytes() == whole[-1].parameters.weights.tobytes()
    assert list(fit(problem, given, resume=whole[-1].state)) == []


def test_validation_metrics_need_validation_rows() -> None:
    given = Hyperparameters(model="softmax", early_stopping={"metric": "validation_loss"})
    with pytest.raises(UnsuitableOption, match="needs validation rows"):
        epochs(blobs(), given)


def test_a_training_that_runs_away_leaves_the_best_model_that_it_had() -> None:
    problem = blobs(rows=200, features=3)
    X = problem.train.X / problem.train.X.std(axis=0)
    problem = Problem(Rows(X, X @ np.ones((3, 1), np.float32)), None, 1)
    given = Hyperparameters(
        model="linear", learning_rate=3.0, batch_size=200, epochs=1000, early_stopping={"patience": 900}
    )
    with pytest.raises(Diverged) as caught:
        epochs(problem, given)
    assert np.abs(caught.value.parameters.weights).max() < 100
    first = next(fit(problem, given))
    assert isinstance(first, Epoch)
    assert caught.value.parameters.weights.tobytes() == first.parameters.weights.tobytes()
    assert caught.value.options.early_stopping is not None
