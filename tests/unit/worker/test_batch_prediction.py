"""One batch prediction, from its job's row to its file."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from app.database import Database
from app.datasets.catalogue import Catalogue
from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import NumericFeature
from app.datasets.target_encoding import TargetEncoding
from app.errors import ResultNotFound
from app.identifiers import new_id
from app.jobs.order import Order
from app.jobs.queue import Claim, LeaseLost, Queue
from app.models import batch as batches
from app.models.batch import Batch
from app.models.registry import Registry, key
from app.models.results import FILE, Results
from app.models.results import key as result_key
from app.models.weights import Weights
from app.storage import Storage
from app.tables import JobRow
from app.worker import attendant as attendant_module
from app.worker import batch_prediction as module
from app.worker.attendant import Attendant
from app.worker.batch_prediction import BatchPrediction
from app.worker.outcome import Outcome

BATCH = Batch("all", [], None, 0.95, [])
ROWS = 100

Predict = Callable[[tuple[JobRow, Claim]], Outcome]


@pytest.fixture
def model(storage: Storage, registry: Registry) -> str:
    encoding = Encoding((NumericFeature("x1", 0.0), NumericFeature("x2", 0.0)), TargetEncoding(("y",), None))
    model_id = new_id()
    with storage.stage() as stage:
        Weights(np.array([[2.0], [-3.4]]), np.array([4.2])).save(stage.path, encoding)
        stage.publish(key(model_id))
        registry.create(
            model_id, "line", kind="linear", features=[], target=["y"], classes=None, metrics={}, job_id=None
        )
    return model_id


@pytest.fixture
def claimed(queue: Queue, catalogue: Catalogue, model: str) -> tuple[JobRow, Claim]:
    """A batch prediction that the worker w has claimed."""
    dataset = catalogue.get("line").id
    spec = {"model": model, "dataset": dataset, **vars(BATCH)}
    queue.submit(Order(spec, "linear", dataset, None, ROWS, "auto", kind="predict"))
    return claim(queue, "w")


def claim(queue: Queue, worker_id: str) -> tuple[JobRow, Claim]:
    job = queue.claim(worker_id, ["cpu"])
    assert job is not None
    return job, Claim(job.id, worker_id, job.attempt)


@pytest.fixture
def predict(storage: Storage, catalogue: Catalogue, registry: Registry, queue: Queue, attendant: Attendant) -> Predict:
    def run(claimed: tuple[JobRow, Claim]) -> Outcome:
        job, own = claimed
        attendant.take(own)
        return BatchPrediction(job, own, storage, catalogue, registry, queue, attendant).run()

    return run


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen once while rows are predicted."""

    def later(happen: Callable[[], object]) -> None:
        write, left = batches.write, [happen]

        def writing(*arguments: Any) -> Iterator[int]:
            for done in write(*arguments):
                if left:
                    left.pop()()
                yield done

        monkeypatch.setattr(batches, "write", writing)

    return later


def folders(storage: Storage) -> list[str]:
    return sorted(path.name for name in ("predictions", "staging") for path in (storage.root / name).glob("*"))


def rows_of(storage: Storage, job: JobRow) -> int:
    with Results(storage).open(job) as file:
        return pq.read_metadata(file).num_rows


def test_a_prediction_has_its_rows_and_a_job_that_says_so(
    queue: Queue, storage: Storage, predict: Predict, claimed: tuple[JobRow, Claim]
):
    predict(claimed)

    job = queue.get(claimed[0].id)
    assert (job.status, job.epoch, job.error) == ("succeeded", ROWS, None)
    assert rows_of(storage, job) == ROWS


def test_a_worker_that_wakes_up_late_leaves_the_predictions_of_the_next_attempt_alone(
    queue: Queue, storage: Storage, catalogue: Catalogue, registry: Registry, attendant: Attendant, predict: Predict,
    claimed: tuple[JobRow, Claim], meanwhile: Callable[[Callable[[], object]], None],
):  # fmt: skip
    def lose() -> None:
        queue.abandon("w")
        predict(claim(queue, "v"))
        attendant.take(claimed[1])  # of a process of its own, which knows nothing of this

    meanwhile(lose)

    with pytest.raises(LeaseLost):
        predict(claimed)

    job = queue.get(claimed[0].id)
    assert (job.status, job.attempt) == ("succeeded", 2)
    assert rows_of(storage, job) == ROWS
    assert folders(storage) == [f"{job.id}.2"]


def test_a_cancelled_prediction_leaves_nothing(
    queue: Queue, storage: Storage, attendant: Attendant, predict: Predict, claimed: tuple[JobRow, Claim],
    meanwhile: Callable[[Callable[[], object]], None],
):  # fmt: skip
    meanwhile(attendant.cancel_requested.set)

    predict(claimed)

    job = queue.get(claimed[0].id)
    assert (job.status, job.error) == ("cancelled", None)
    assert folders(storage) == []
    with pytest.raises(ResultNotFound):
        Results(storage).open(job)


def test_a_prediction_whose_worker_is_asked_to_stop_waits_for_another(
    queue: Queue, storage: Storage, attendant: Attendant, predict: Predict, claimed: tuple[JobRow, Claim],
    meanwhile: Callable[[Callable[[], object]], None],
):  # fmt: skip
    meanwhile(attendant.stop_requested.set)

    with pytest.raises(LeaseLost):
        predict(claimed)

    assert (queue.get(claimed[0].id).status, queue.get(claimed[0].id).attempt) == ("queued", 1)
    assert folders(storage) == []


def test_a_database_that_others_hold_for_long_costs_no_prediction(
    queue: Queue, database: Database, predict: Predict, claimed: tuple[JobRow, Claim], monkeypatch: pytest.MonkeyPatch
):
    faults = {kind: [OperationalError("", {}, Exception("database is locked"))] * 2 for kind in ("read", "write")}

    def held(kind: str, session: Callable[[], Any]) -> Any:
        if faults[kind]:
            raise faults[kind].pop()
        return session()

    monkeypatch.setattr(attendant_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.0)
    for kind in faults:
        monkeypatch.setattr(database, kind, partial(held, kind, getattr(database, kind)))

    with capture_logs():
        predict(claimed)

    assert queue.get(claimed[0].id).status == "succeeded"
    assert faults == {"read": [], "write": []}


def test_a_file_that_a_worker_left_when_it_handed_the_job_back_is_in_nobodys_way(
    queue: Queue, storage: Storage, predict: Predict, claimed: tuple[JobRow, Claim]
):
    with storage.stage() as stage:
        (stage.path / FILE).write_bytes(b"of an attempt that came to nothing")
        stage.publish(result_key(claimed[0].id, claimed[0].attempt))

    predict(claimed)

    job = queue.get(claimed[0].id)
    assert (job.status, job.error) == ("succeeded", None)
    assert rows_of(storage, job) == ROWS


def test_an_end_that_was_committed_though_the_connection_was_lost_keeps_its_predictions(
    queue: Queue, storage: Storage, predict: Predict, claimed: tuple[JobRow, Claim], cut_off: Callable[[], None]
):
    cut_off()

    with capture_logs():
        predict(claimed)

    job = queue.get(claimed[0].id)
    assert job.status == "succeeded"
    assert rows_of(storage, job) == ROWS


@pytest.mark.parametrize(("gone", "code"), [("row", "model-not-found"), ("files", "damaged-files")])
def test_a_prediction_by_a_model_that_is_deleted_or_damaged_says_so(
    queue: Queue, storage: Storage, registry: Registry, predict: Predict, claimed: tuple[JobRow, Claim], model: str,
    gone: str, code: str,
):  # fmt: skip
    if gone == "row":
        registry.delete(model)
    else:
        storage.delete(key(model))

    with capture_logs() as logged:
        predict(claimed)

    job = queue.get(claimed[0].id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == code
    assert len(logged) == (gone == "files")


def test_what_attempts_left_that_came_to_nothing_is_swept(
    queue: Queue, storage: Storage, predict: Predict, claimed: tuple[JobRow, Claim]
):
    predict(claimed)
    job_id = claimed[0].id
    for name in (f"{job_id}.2", f"{new_id()}.1", job_id):
        (storage.root / "predictions" / name).mkdir()

    swept = Results(storage).sweep(queue.keeps)

    assert len(swept) == 3
    assert folders(storage) == [f"{job_id}.1"]
    Results(storage).delete(job_id)
    assert folders(storage) == []
