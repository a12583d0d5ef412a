"""The loss history."""

import math
from collections.abc import Sequence

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from app.database import Database
from app.jobs import history
from app.jobs.history import Measurement
from app.jobs.queue import Claim, LeaseLost, Queue
from tests.unit.jobs.conftest import Running, measured, record


@pytest.fixture
def claim(running: Running) -> Claim:
    return running(epochs=1000)


def test_epochs_are_kept_as_they_were_measured(database: Database, queue: Queue, claim: Claim):
    first = measured(1, train_loss=0.1 + 0.2, validation_loss=None, validation_accuracy=0.5)
    second = measured(2, train_loss=None)

    record(database, queue, claim, [first])
    record(database, queue, claim, [second])

    rows = history.read(database, claim.job_id, 0, 10)
    assert [Measurement(*(getattr(row, name) for name in Measurement._fields)) for row in rows] == [first, second]


def test_a_job_shows_its_newest_epoch_and_what_it_measured(database: Database, queue: Queue, claim: Claim):
    epochs = [measured(1), measured(2, train_loss=0.25, train_accuracy=0.5)]

    record(database, queue, claim, epochs, samples_per_second=1e6)

    job = queue.get(claim.job_id)
    assert (job.epoch, job.metrics, job.samples_per_second) == (2, {"train_loss": 0.25, "train_accuracy": 0.5}, 1e6)


def test_progress_without_an_epoch_leaves_the_measurements(database: Database, queue: Queue, claim: Claim):
    record(database, queue, claim, [measured(1)])

    record(database, queue, claim, [], samples_per_second=5.0)

    job = queue.get(claim.job_id)
    assert (job.epoch, job.metrics, job.samples_per_second) == (1, {"train_loss": 1.0}, 5.0)


def test_nothing_at_all_may_be_recorded(database: Database, queue: Queue, claim: Claim):
    record(database, queue, claim, [])

    assert queue.get(claim.job_id).epoch == 0


def test_epochs_that_are_there_already_are_not_added_again(database: Database, queue: Queue, claim: Claim):
    first = [measured(1, candidate=0), measured(1, candidate=1), measured(2)]
    record(database, queue, claim, first)

    record(database, queue, claim, [*first, measured(3)])
    record(database, queue, claim, [measured(3)], samples_per_second=5.0)

    assert [row.epoch for row in history.read(database, claim.job_id, 0, 10)] == [1, 1, 2, 3]
    job = queue.get(claim.job_id)
    assert (job.epoch, job.metrics, job.samples_per_second) == (3, {"train_loss": 1 / 3}, 5.0)


def test_a_worker_that_lost_its_lease_adds_nothing(database: Database, queue: Queue, claim: Claim):
    queue.abandon("w")

    with pytest.raises(LeaseLost):
        record(database, queue, claim, [measured(1)])

    assert history.read(database, claim.job_id, 0, 10) == []
    assert queue.get(claim.job_id).epoch == 0


def test_an_epoch_is_recorded_once_and_a_second_time_undoes_its_batch(database: Database, queue: Queue, claim: Claim):
    record(database, queue, claim, [measured(1)])

    with pytest.raises(IntegrityError):
        record(database, queue, claim, [measured(2), measured(1)])

    assert [row.epoch for row in history.read(database, claim.job_id, 0, 10)] == [1]
    assert queue.get(claim.job_id).epoch == 1


@pytest.mark.parametrize(
    ("after_epoch", "limit", "epochs"),
    [(0, 100, [1, 2, 3, 4, 5]), (0, 2, [1, 2]), (2, 2, [3, 4]), (4, 100, [5]), (5, 100, [])],
)
def test_a_history_is_read_on_from_where_one_stopped(
    database: Database, queue: Queue, claim: Claim, after_epoch: int, limit: int, epochs: list[int]
):
    record(database, queue, claim, [measured(epoch) for epoch in (3, 1, 2, 5, 4)])

    assert [row.epoch for row in history.read(database, claim.job_id, after_epoch, limit)] == epochs


def test_histories_of_other_jobs_are_not_mixed_in(database: Database, queue: Queue, running: Running):
    one, other = running("v"), running("w")
    record(database, queue, one, [measured(1)])
    record(database, queue, other, [measured(1), measured(2)])

    assert [row.epoch for row in history.read(database, one[0], 0, 10)] == [1]
    assert [row.epoch for row in history.sample(database, one[0], 0, 10)] == [1]


# ── down-sampling ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def curve(database: Database, queue: Queue, claim: Claim) -> str:
    """A thousand epochs of a wavy loss with one spike up and one down."""
    losses = {epoch: 1 / epoch + 0.01 * math.sin(epoch) for epoch in range(1, 1001)} | {333: 9.0, 777: -9.0}
    record(database, queue, claim, [measured(epoch, train_loss=loss) for epoch, loss in losses.items()])
    return claim.job_id


@pytest.mark.parametrize("points", [2, 3, 4, 5, 10, 99, 100, 999])
def test_a_sample_has_at_most_as_many_points_as_asked(database: Database, curve: str, points: int):
    epochs = [row.epoch for row in history.sample(database, curve, 0, points)]

    assert len(epochs) <= points
    assert len(epochs) >= points // 2
    assert epochs == sorted(set(epochs))
    assert (epochs[0], epochs[-1]) == (1, 1000)


@pytest.mark.parametrize("points", [4, 10, 99])
def test_a_sample_keeps_the_spikes(database: Database, curve: str, points: int):
    losses = {row.epoch: row.train_loss for row in history.sample(database, curve, 0, points)}

    assert (losses[333], losses[777]) == (9.0, -9.0)


def test_a_sample_keeps_the_spikes_of_all_that_was_measured(database: Database, queue: Queue, claim: Claim):
    spikes = {
        333: {"train_accuracy": 0.0}, 444: {"validation_loss": 9.0},
        555: {"validation_loss": -9.0}, 666: {"validation_accuracy": 1.0},
    }  # fmt: skip
    usual = {"train_accuracy": 0.5, "validation_loss": 1.0, "validation_accuracy": 0.5}
    epochs = [measured(epoch, **{**usual, **spikes.get(epoch, {})}) for epoch in range(1, 1001)]
    record(database, queue, claim, epochs)

    assert {333, 444, 555, 666} < {row.epoch for row in history.sample(database, claim.job_id, 0, 10)}


def test_a_sample_is_spread_over_the_whole_curve(database: Database, curve: str):
    epochs = [row.epoch for row in history.sample(database, curve, 0, 102)]

    assert all(any(start < epoch <= start + 20 for epoch in epochs) for start in range(0, 1000, 20))


def test_a_history_that_is_short_enough_is_whole(database: Database, curve: str):
    assert [row.epoch for row in history.sample(database, curve, 0, 1000)] == list(range(1, 1001))
    assert [row.epoch for row in history.sample(database, curve, 990, 10)] == list(range(991, 1001))
    assert history.sample(database, curve, 1000, 10) == []


def test_a_sample_begins_after_the_epoch_that_is_known(database: Database, curve: str):
    epochs = [row.epoch for row in history.sample(database, curve, 500, 10)]

    assert (epochs[0], epochs[-1]) == (501, 1000)
    assert 777 in epochs


def test_epochs_without_a_finite_loss_are_no_extremes(database: Database, queue: Queue, claim: Claim):
    losses = [None] * 50 + [3.0] + [None] * 49
    record(database, queue, claim, [measured(epoch, train_loss=loss) for epoch, loss in enumerate(losses, 1)])

    epochs = [row.epoch for row in history.sample(database, claim.job_id, 0, 4)]
    assert {1, 51, 100} < set(epochs)
    assert len(epochs) == 4


def test_a_smooth_curve_has_as_many_points_as_asked(database: Database, queue: Queue, claim: Claim):
    record(database, queue, claim, [measured(epoch, train_loss=1 / epoch) for epoch in range(1, 38)])

    assert [row.epoch for row in history.sample(database, claim.job_id, 0, 5)] == [1, 7, 19, 31, 37]
    assert len(history.sample(database, claim.job_id, 0, 20)) == 20


def test_a_sample_of_a_sweep_counts_epochs_and_has_every_candidate(database: Database, queue: Queue, claim: Claim):
    of_sweep = [measured(epoch, candidate=candidate) for epoch in range(1, 101) for candidate in (2, 0, 1)]
    record(database, queue, claim, of_sweep)

    rows = history.sample(database, claim.job_id, 0, 10)

    epochs = sorted({row.epoch for row in rows})
    assert 2 <= len(epochs) <= 10
    assert [(row.epoch, row.candidate) for row in rows] == [(epoch, c) for epoch in epochs for c in range(3)]
    assert len(history.sample(database, claim.job_id, 0, 100)) == 300


@pytest.mark.parametrize("after_epoch", [history.LARGEST_EPOCH, 10**15 - 1])
def test_no_number_beyond_the_column_is_compared_with_it(database: Database, claim: Claim, after_epoch: int):
    compared: list[int] = []

    def note(connection: object, cursor: object, statement: str, parameters: Sequence[object], *_: object) -> None:
        compared.extend(value for value in parameters if isinstance(value, int))

    event.listen(database.engine, "before_cursor_execute", note)

    assert history.read(database, claim.job_id, after_epoch, 1000) == []
    assert compared
    assert max(compared) <= 2**31 - 1
