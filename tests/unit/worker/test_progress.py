"""The progress of a training: the best weights, the time limit, what is recorded."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.jobs.history import Measurement
from app.jobs.spec import Spec
from app.training.early_stopping import EarlyStopping
from app.training.fit import Epoch, Parameters, Pause
from app.training.hyperparameters import Hyperparameters
from app.training.state import State
from app.worker.attendant import Attendant
from app.worker.checkpoint import Best, Checkpoint
from app.worker.progress import Progress


class Listener(Attendant):
    """An attendant that only listens."""

    def __init__(self) -> None:
        super().__init__(None, None, None, None, Wanting(), 1.0, None)  # type: ignore[arg-type]
        self.recorded: list[Measurement] = []

    def record(self, epoch: list[Measurement], samples_per_second: float, rows: int) -> None:
        self.recorded.extend(epoch)


class Wanting:
    """A checkpointer that takes what it is offered."""

    wanted = False
    offered: Checkpoint | None = None

    def offer(self, checkpoint: Checkpoint, copy_seconds: float) -> None:
        self.offered = checkpoint


OPTIONS = Hyperparameters(model="linear")


def epoch(number: int, train_loss: float, validation_loss: float | None = None) -> Epoch:
    parameters = Parameters(np.full((2, 1), number, np.float32), np.zeros(1, np.float32))
    return Epoch(number, train_loss, None, validation_loss, None, 0.1, State(number, parameters, parameters), OPTIONS)


def progress(attendant: Attendant, **spec: object) -> Progress:
    return Progress(Spec.model_validate({"dataset": "x", "model": "linear", **spec}), 10, attendant, "own")


def number_of(parameters: Parameters | None) -> int:
    assert parameters is not None
    return int(parameters.weights[0, 0])


@pytest.mark.parametrize(
    ("losses", "best"),
    [([(3.0, None), (1.0, None), (2.0, None)], 2), ([(3.0, 1.0), (2.0, 2.0), (1.0, 3.0)], 1)],
)
def test_the_best_weights_are_those_of_the_least_loss_on_the_validation_rows_if_there_are_any(
    losses: list[tuple[float, float | None]], best: int
) -> None:
    own = progress(Listener())
    for place, loss in enumerate(losses):
        own.take(epoch(place + 1, *loss))
    assert number_of(own.best and own.best.parameters) == best
    assert number_of(own.last) == 3


def test_the_best_names_the_epoch_and_candidate_that_it_is_of() -> None:
    own = progress(Listener())
    for number, loss in enumerate([2.0, 1.0, 3.0], 1):
        own.take(replace(epoch(number, loss), candidate=4))
    assert own.best is not None
    assert (own.best.epoch, own.best.candidate) == (2, 4)


def test_where_training_stops_early_the_best_is_what_its_rule_keeps() -> None:
    own = progress(Listener())
    for number, loss, best in [(1, 1.0, 1), (2, 2.0, 2), (3, 3.0, 2)]:  # by the accuracy, say
        step = epoch(number, loss)
        own.take(replace(step, state=replace(epoch(best, 0.0).state, epoch=number, best_epoch=best)))
    assert own.best is not None
    assert (own.best.epoch, number_of(own.best.parameters)) == (2, 2)


def test_a_time_limit_counts_what_earlier_attempts_have_spent() -> None:
    own = progress(Listener(), time_limit_seconds=100)
    parameters = epoch(4, 1.0).parameters
    own.take(Pause())
    assert not own.is_out_of_time()
    own.go_on_from(Checkpoint(State(4, parameters, parameters), Best(0.5, parameters, 4), 101.0, "own"))
    assert own.is_out_of_time()
    own.take(epoch(5, 1.0))
    assert number_of(own.best and own.best.parameters) == 4
    assert not progress(Listener()).is_out_of_time()


def test_a_checkpoint_is_offered_when_it_is_wanted_and_comes_back_whole() -> None:
    attendant = Listener()
    own = progress(attendant)
    own.take(epoch(1, 2.0))
    wanting = attendant.checkpointer
    assert isinstance(wanting, Wanting)
    assert wanting.offered is None
    wanting.wanted = True
    own.take(epoch(2, 3.0))
    assert wanting.offered is not None
    assert wanting.offered.state.epoch == 2
    assert number_of(wanting.offered.best.parameters) == wanting.offered.best.epoch == 1
    assert [measured.epoch for measured in attendant.recorded] == [1, 2]


@pytest.mark.parametrize("end", [
    {"number": 3}, {"converged": True},
    {"options": OPTIONS.model_copy(update={"early_stopping": EarlyStopping(patience=1)})},
], ids=["of all epochs", "of a search", "of patience"])  # fmt: skip
def test_no_checkpoint_is_kept_of_an_end(end: dict[str, Any]) -> None:
    attendant = Listener()
    own, wanting = progress(attendant), attendant.checkpointer
    assert isinstance(wanting, Wanting)
    wanting.wanted = True
    last = replace(epoch(2, 1.0), **{"options": OPTIONS.model_copy(update={"epochs": 3}), **end})
    own.take(replace(last, state=replace(last.state, best_epoch=1)))
    assert wanting.offered is None
    own.take(epoch(2, 1.0))
    assert wanting.offered is not None
