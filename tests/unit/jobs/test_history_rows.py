"""The loss history: every value in its column, and the same curve from fewer points."""

import pytest

from app.database import Database
from app.jobs import history
from app.jobs.history import Measurement
from app.jobs.order import Order
from app.jobs.queue import Claim, LeaseLost, Queue
from app.jobs.roster import Roster


def claimed(database: Database) -> tuple[Queue, Claim]:
    queue = Queue(database, Roster(database, 15), 15, 3, 10)
    queue.submit(Order({}, "softmax", None, None, 10, "cpu"))
    job = queue.claim("worker", ["cpu"])
    assert job is not None
    return queue, Claim(job.id, "worker", job.attempt)


def record(database: Database, queue: Queue, claim: Claim, *epochs: Measurement) -> None:
    with database.write() as session:
        history.record(session, queue, claim, epochs)


def measured(number: int, loss: float = 0.5) -> Measurement:
    return Measurement(number, loss, 0.25, None, 0.75, 0.1, 2.5)


def test_every_value_comes_back_from_its_own_column(database: Database) -> None:
    queue, claim = claimed(database)
    record(database, queue, claim, measured(1), measured(2, 0.125))
    rows = history.read(database, claim.job_id, 0, 10)
    names = Measurement._fields
    assert [tuple(getattr(row, name) for name in names) for row in rows] == [measured(1), measured(2, 0.125)]
    assert queue.get(claim.job_id).metrics == {"train_loss": 0.125, "train_accuracy": 0.25, "validation_accuracy": 0.75}


def test_a_worker_that_lost_its_job_records_nothing(database: Database) -> None:
    queue, claim = claimed(database)
    with pytest.raises(LeaseLost):
        record(database, queue, claim._replace(attempt=claim.attempt + 1), measured(1))
    assert history.read(database, claim.job_id, 0, 10) == []


def test_a_sample_keeps_the_ends_and_the_extremes(database: Database) -> None:
    queue, claim = claimed(database)
    losses = [1.0] * 1000
    losses[333], losses[700] = 9.0, 0.001
    record(database, queue, claim, *(measured(place + 1, loss) for place, loss in enumerate(losses)))
    chosen = [row.epoch for row in history.sample(database, claim.job_id, 0, 20)]
    assert len(chosen) <= 20
    assert {1, 334, 701, 1000} <= set(chosen)
    assert len(history.sample(database, claim.job_id, 990, 20)) == 10


@pytest.mark.parametrize(("wanted", "reached"), [(3, 3), (0, 0), (6, 0)])
def test_a_history_is_taken_back_to_a_checkpoint_or_begun_anew(database: Database, wanted: int, reached: int) -> None:
    queue, claim = claimed(database)
    record(database, queue, claim, *(measured(number, 1 / number) for number in range(1, 6)))
    with database.write() as session:
        assert history.rewind(session, queue, claim, wanted) == reached
    assert [row.epoch for row in history.read(database, claim.job_id, 0, 10)] == list(range(1, reached + 1))
    job = queue.get(claim.job_id)
    assert (job.epoch, job.resumed_epoch) == (reached, reached or None)
    assert (job.metrics or {}).get("train_loss") == (1 / reached if reached else None)
