"""One job, from its row to its model, with a training that does as it is told."""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from app.database import Database
from app.datasets.catalogue import Catalogue
from app.datasets.offsets import offsets
from app.disk import Disk
from app.errors import Fault, InvalidSpec, ModelNotFound, StorageFull
from app.jobs import history
from app.jobs.queue import Claim, LeaseLost, Queue
from app.models.prediction import predict
from app.models.predictor import Predictor
from app.models.registry import Registry
from app.models.revision import Revision
from app.models.weights import Weights
from app.storage import Storage
from app.tables import JobRow, ModelRow
from app.training.epoch import Epoch, Pause
from app.training.errors import DeviceFailed, DeviceFull, DeviceUnavailable, Diverged, UnsuitableOption
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Parameters, Problem
from app.training.state import State
from app.worker import attendant as attendant_module
from app.worker import execution as module
from app.worker.attendant import Attendant
from app.worker.execution import Execution
from app.worker.outcome import Outcome
from tests.unit.worker.conftest import Claimed

SECRET = "password=swordfish"

Train = Callable[..., Outcome]
Step = Epoch | Pause | Callable[[], object] | BaseException


def parameters(value: float = 1.0) -> Parameters:
    return Parameters(np.array([[value], [-value]], np.float32), np.array([value], np.float32))


OPTIONS = Hyperparameters(model="linear", epochs=3)


def state(number: int, value: float | None = None) -> State:
    found = parameters(value if value is not None else number)
    return State(number, found, model=found)


def epoch(number: int, **values: Any) -> Epoch:
    about = {"train_loss": 1 / number, "train_accuracy": None, "validation_loss": None, "validation_accuracy": None}
    return Epoch(number=number, **{**about, "learning_rate": 0.1, "state": state(number), "options": OPTIONS, **values})


@pytest.fixture
def train(
    database: Database, storage: Storage, catalogue: Catalogue, registry: Registry, queue: Queue, attendant: Attendant,
    monkeypatch: pytest.MonkeyPatch,
) -> Train:  # fmt: skip
    """Carry a job out whose training goes through these steps: yields epochs, calls functions, raises errors.

    Where each device has its own, they are a dictionary.
    """

    def run(claimed: tuple[JobRow, Claim], steps: Sequence[Step] | dict[str, list[Step]]) -> Outcome:
        def fit(problem: Problem, spec: Any, device: str, resume: State | None = None) -> Iterator[Epoch | Pause]:
            for step in steps[device] if isinstance(steps, dict) else steps:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, Epoch | Pause):
                    yield step
                else:
                    step()

        monkeypatch.setattr(module, "fit", fit)
        job, claim = claimed
        attendant.take(claim)
        attendant.listen()
        return Execution(job, claim, database, storage, catalogue, registry, queue, attendant).run()

    return run


def models(storage: Storage) -> list[str]:
    folder = storage.root / "models"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def nothing_is_left(storage: Storage, registry: Registry) -> bool:
    return not models(storage) and not registry.page(9) and not list((storage.root / "staging").iterdir())


# ── how a job ends well ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_that_trained_all_its_epochs_has_a_model_and_a_history(
    database: Database, queue: Queue, registry: Registry, storage: Storage, train: Train, claimed: Claimed
):
    job, claim = claimed(model_name="line")

    train((job, claim), [epoch(1), Pause(), epoch(2), epoch(3)])

    found, model = queue.get(job.id), registry.get("line:1")
    assert (found.status, found.epoch, found.model_id, found.error) == ("succeeded", 3, model.id, None)
    assert (found.device, found.metrics) == ("cpu", {"train_loss": 1 / 3})
    assert found.samples_per_second is not None
    assert found.samples_per_second > 0
    assert found.receipt is not None
    assert found.receipt["dataset_sha256"]
    assert (model.job_id, model.dataset_id, model.kind, model.partial) == (job.id, job.dataset_id, "linear", False)
    assert (model.target, model.classes) == (["y"], None)
    assert [feature["name"] for feature in model.features] == ["x1", "x2"]
    assert set(model.metrics["train"]) == {"mse", "rmse", "mae", "r2"}
    assert models(storage) == [model.id]
    assert [(row.epoch, row.train_loss, row.seconds > 0) for row in history.read(database, job.id, 0, 9)] == [
        (1, 1.0, True), (2, 0.5, True), (3, 1 / 3, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([epoch(1), epoch(2), epoch(3)], {"status": "succeeded", "epochs": 3}),
        (
            [epoch(1), Diverged(2, parameters(), 0.01, OPTIONS)],
            {"status": "diverged", "epochs": 1, "error": "diverged"},
        ),
        ([MemoryError()], {"status": "failed", "error": "out-of-memory"}),
    ],
    ids=["succeeded", "diverged", "failed"],
)
def test_how_a_job_ended_is_told_to_the_log(train: Train, claimed: Claimed, steps: list[Step], told: dict[str, object]):
    assert train(claimed(), steps).line() == told


@pytest.mark.parametrize("standardize", [False, True])
def test_the_saved_weights_act_on_rows_in_the_datasets_own_units(
    database: Database,
    registry: Registry,
    storage: Storage,
    catalogue: Catalogue,
    train: Train,
    claimed: Claimed,
    standardize: bool,
):
    train(claimed(model_name="line", standardize=standardize), [epoch(1, state=state(1, 3.0))])

    loaded = Predictor(registry, Revision(database), 1 << 20).load("line")
    rows = np.array([[1.0, 2.0], [-0.5, 0.25]])
    X = np.column_stack([catalogue.open("line").column(name).to_numpy() for name in ("x1", "x2")])
    seen = (rows - X.mean(axis=0)) / X.std(axis=0) if standardize else rows
    y = catalogue.open("line").column("y").to_numpy()
    middle = np.quantile(y, 0.5, method="lower")
    distance = np.quantile(np.abs(y - middle), 0.5, method="lower")
    centre = offsets(middle, y.std(), True, distance) if standardize else 0.0
    assert predict(loaded, rows).predictions == pytest.approx(seen @ [3.0, -3.0] + 3.0 + centre)


def test_a_search_tells_whether_it_has_converged(queue: Queue, train: Train, claimed: Claimed):
    first, second, third = (claimed(solver="lbfgs", validation=None) for _ in range(3))
    train(first, [epoch(1, converged=False), epoch(2, converged=True)])
    train(second, [epoch(1, converged=False), epoch(2, converged=False)])
    train(third, [epoch(1, converged=False), epoch(2, converged=True, state=replace(state(2), best_epoch=1))])
    assert [(queue.get(job.id).optimality or {})["converged"] for job, _ in (first, second, third)] == [
        True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("end", [[], [Diverged(2, parameters(np.inf), 0.01, OPTIONS)]], ids=["succeeds", "diverges"])
def test_weights_that_are_not_finite_make_no_model(
    queue: Queue, registry: Registry, storage: Storage, train: Train, claimed: Claimed, end: list[Step]
):
    job, claim = claimed(optimality_gap=True)
    train((job, claim), [epoch(1, state=state(1, np.inf)), *end])
    found = queue.get(job.id)
    assert (found.status, found.model_id, found.error["code"]) == ("diverged", None, "diverged")
    assert "No model is kept" in found.error["detail"]
    assert nothing_is_left(storage, registry)


def test_a_loss_that_is_no_number_is_none_in_the_history(database: Database, train: Train, claimed: Claimed):
    job, claim = claimed()

    train((job, claim), [epoch(1, train_loss=float("inf"), validation_loss=float("nan"), train_accuracy=0.5)])

    (row,) = history.read(database, job.id, 0, 9)
    assert (row.train_loss, row.validation_loss, row.train_accuracy) == (None, None, 0.5)


def test_a_cancelled_job_keeps_what_it_learned_as_a_partial_model(
    queue: Queue, registry: Registry, attendant: Attendant, train: Train, claimed: Claimed
):
    job, claim = claimed()

    worse = epoch(2, train_loss=9.0)
    train((job, claim), [epoch(1), worse, attendant.cancel_requested.set, Pause(), epoch(3)])

    found = queue.get(job.id)
    assert (found.status, found.epoch) == ("cancelled", 2)
    assert (found.best_epoch, found.metrics) == (1, {"train_loss": 1.0})
    assert found.model_id is not None
    assert registry.get(found.model_id).partial


def test_a_job_tells_the_gap_to_the_optimum_when_asked(queue: Queue, train: Train, claimed: Claimed):
    job, claim = claimed(optimality_gap=True)

    train((job, claim), [epoch(1), epoch(2)])

    found = queue.get(job.id)
    assert (found.status, found.epoch) == ("succeeded", 2)
    assert found.optimality is not None
    assert found.optimality["gap"] == found.optimality["objective"] - found.optimality["optimum"] > 0


def test_a_job_whose_time_is_over_before_the_optimum_is_found_has_succeeded_without_it(
    queue: Queue, train: Train, claimed: Claimed, monkeypatch: pytest.MonkeyPatch
):
    job, claim = claimed(optimality_gap=True, time_limit_seconds=100.0)
    monkeypatch.setattr(module, "objectives", lambda *_: over())

    def over() -> Iterator[Pause]:
        monkeypatch.setattr(module.Progress, "is_out_of_time", lambda _: True)
        yield Pause()
        raise AssertionError("it goes on")

    train((job, claim), [epoch(1), epoch(2)])

    found = queue.get(job.id)
    assert (found.status, found.epoch, set(found.optimality or {})) == ("succeeded", 2, {"gradient_norm", "converged"})


def test_a_job_that_reached_its_limit_with_its_last_epoch_has_succeeded(queue: Queue, train: Train, claimed: Claimed):
    first, second = (claimed(time_limit_seconds=1e-6) for _ in range(2))
    train(first, [epoch(1, options=OPTIONS.model_copy(update={"epochs": 1}))])
    train(second, [epoch(1, options=OPTIONS), epoch(2)])
    assert [queue.get(job.id).status for job, _ in (first, second)] == ["succeeded", "cancelled"]


def test_a_job_is_cancelled_while_the_optimum_is_sought(
    queue: Queue, attendant: Attendant, train: Train, claimed: Claimed, monkeypatch: pytest.MonkeyPatch
):
    job, claim = claimed(optimality_gap=True)

    def cancelled() -> Iterator[Pause]:
        attendant.cancel_requested.set()
        yield Pause()
        raise AssertionError("it goes on")

    monkeypatch.setattr(module, "objectives", lambda *_: cancelled())
    train((job, claim), [epoch(1), epoch(2)])

    found = queue.get(job.id)
    assert (found.status, found.epoch) == ("cancelled", 2)
    assert found.model_id is not None


def test_a_job_cancelled_before_its_first_epoch_has_no_model(
    queue: Queue, registry: Registry, storage: Storage, attendant: Attendant, train: Train, claimed: Claimed
):
    job, claim = claimed()

    train((job, claim), [attendant.cancel_requested.set, Pause(), epoch(1)])

    found = queue.get(job.id)
    assert (found.status, found.epoch, found.model_id, found.error) == ("cancelled", 0, None, None)
    assert nothing_is_left(storage, registry)


def test_a_job_that_diverged_says_when_and_what_to_try_and_keeps_the_last_finite_weights(
    database: Database, queue: Queue, registry: Registry, storage: Storage, train: Train, claimed: Claimed
):
    job, claim = claimed(model_name="line")

    train((job, claim), [epoch(1), Diverged(2, parameters(7.0), 0.0125, OPTIONS)])

    found, model = queue.get(job.id), registry.get("line")
    assert (found.status, found.epoch, found.model_id) == ("diverged", 1, model.id)
    assert found.error is not None
    assert (found.error["code"], found.error["epoch"], found.error["learning_rate_to_try"]) == ("diverged", 2, 0.0125)
    assert "0.0125" in found.error["detail"]
    assert model.partial
    assert Predictor(registry, Revision(database), 1 << 20).load("line").weights.bias.tolist() == [7.0]


def test_a_job_that_diverged_at_once_says_what_was_effective(queue: Queue, train: Train, claimed: Claimed):
    job, claim = claimed()
    settled = OPTIONS.model_copy(update={"momentum": 0.25})

    train((job, claim), [Diverged(1, parameters(), 0.0125, settled)])

    assert (queue.get(job.id).status, queue.get(job.id).spec["momentum"]) == ("diverged", 0.25)


# ── whose job it is ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_whose_worker_is_asked_to_stop_waits_for_another_and_has_lost_no_attempt(
    queue: Queue, registry: Registry, storage: Storage, attendant: Attendant, train: Train, claimed: Claimed
):
    job, claim = claimed()

    with pytest.raises(LeaseLost):
        train((job, claim), [epoch(1), attendant.stop_requested.set, Pause(), epoch(2)])

    assert (queue.get(job.id).status, queue.get(job.id).attempt) == ("queued", 1)
    assert nothing_is_left(storage, registry)


@pytest.mark.parametrize("told", [True, False], ids=["told in time", "found out at the end"])
def test_a_worker_that_lost_its_lease_leaves_nothing_and_changes_nothing(
    queue: Queue, registry: Registry, storage: Storage, attendant: Attendant, train: Train, claimed: Claimed, told: bool
):
    job, claim = claimed(model_name="line")

    def lose() -> None:
        queue.abandon("w")
        queue.claim("v", ["cpu"])
        if told:
            attendant.lease_lost.set()

    with pytest.raises(LeaseLost):
        train((job, claim), [epoch(1), lose, Pause(), epoch(2)])

    found = queue.get(job.id)
    assert (found.status, found.worker_id, found.attempt, found.epoch) == ("running", "v", 2, 0)
    assert nothing_is_left(storage, registry)


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InvalidSpec(Fault("target", "the target is missing in every row")), "invalid-job", "missing in every row"),
        (UnsuitableOption("l2", "it does not apply"), "invalid-job", "does not apply"),
        (StorageFull("The disk is full; free some space."), "storage-full", "free some space"),
        (MemoryError(), "out-of-memory", "fewer rows"),
        (DeviceFull(), "out-of-memory", "smaller batch_size"),
        (DeviceFailed("an illegal memory access"), "device-failed", "Run the job again"),
        (RuntimeError(SECRET), "internal-error", "log"),
        (DeviceUnavailable("no CUDA device; use the device cpu or auto"), "device-unavailable", "cpu or auto"),
    ],
    ids=["data", "option", "disk", "memory", "memory of the device", "broken device", "bug", "device"],
)
def test_whatever_goes_wrong_ends_the_job_with_what_to_do(
    queue: Queue, registry: Registry, storage: Storage, train: Train, claimed: Claimed, error: Exception, code: str,
    words: str,
):  # fmt: skip
    job, claim = claimed()

    with capture_logs() as logged:
        train((job, claim), [epoch(1), error])

    found = queue.get(job.id)
    assert (found.status, found.epoch, found.model_id) == ("failed", 1, None)
    assert found.error is not None
    assert found.error["code"] == code
    assert words in found.error["detail"]
    assert SECRET not in found.error["detail"]
    assert [line["job"] for line in logged] == ([job.id] if code in {"internal-error", "device-failed"} else [])
    assert nothing_is_left(storage, registry)


@pytest.mark.parametrize(("device", "epochs", "ends_on"), [
    ("auto", [], "cpu"), ("auto", [epoch(1)], "cuda"), ("cuda", [], "cuda"),
], ids=["free to go", "already on its way", "bound"])  # fmt: skip
def test_a_job_that_the_gpu_has_no_room_for_goes_to_the_cpu_if_it_may(
    queue: Queue, train: Train, claimed: Claimed, monkeypatch: pytest.MonkeyPatch, device: str, epochs: list[Epoch],
    ends_on: str,
):  # fmt: skip
    monkeypatch.setattr(module.devices, "choose", lambda *_: "cuda")
    monkeypatch.setattr(module.devices, "gpu", lambda: "a small one, CUDA 13.0")
    job, claim = claimed()
    job.spec = {**job.spec, "device": device}
    with capture_logs():
        train((job, claim), {"cuda": [*epochs, DeviceFull()], "cpu": [epoch(1)]})

    found = queue.get(job.id)
    assert found.device == ends_on
    if ends_on == "cpu":
        assert (found.status, (found.receipt or {})["device"]) == ("succeeded", "cpu")
    else:
        assert (found.status, (found.error or {})["code"]) == ("failed", "out-of-memory")


def test_a_job_whose_dataset_is_gone_fails_with_that_reason(queue: Queue, train: Train, claimed: Claimed):
    job, claim = claimed()
    job.dataset_id = None

    train((job, claim), [])

    found = queue.get(job.id)
    assert found.status == "failed"
    assert found.error is not None
    assert found.error["code"] == "dataset-not-found"


def test_a_job_that_goes_on_from_a_model_that_is_gone_fails_with_that_reason(
    queue: Queue, registry: Registry, train: Train, claimed: Claimed
):
    train(claimed(model_name="line"), [epoch(1)])
    job, claim = claimed(init={"type": "model", "model": "line"})
    registry.delete("line")

    train((job, claim), [])

    found = queue.get(job.id)
    assert found.status == "failed"
    assert found.error is not None
    assert found.error["code"] == "model-not-found"


@pytest.mark.parametrize("status", ["succeeded", "cancelled"])
@pytest.mark.parametrize("place", ["files", "row", "going on"])
def test_a_full_disk_costs_no_job_its_model(
    queue: Queue, registry: Registry, attendant: Attendant, train: Train, claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch, status: str, place: str,
):  # fmt: skip
    spot: tuple[Any, str] = {
        "files": (Weights, "save"), "row": (registry, "add"), "going on": (module.history, "rewind"),
    }[place]  # fmt: skip
    once_there_is_room, faults = getattr(*spot), [OSError(errno.ENOSPC, "no space"), StorageFull("no space")]
    faults = faults if place == "files" else faults[1:] * 2

    def full(*arguments: Any, **named: Any) -> Any:
        if faults:
            raise faults.pop()
        return once_there_is_room(*arguments, **named)

    monkeypatch.setattr(*spot, full)
    monkeypatch.setattr(attendant_module, "RETRY_SECONDS", 0.01)
    job, claim = claimed(model_name="line")
    job.epoch = 1  # as if an attempt before had left a history

    with capture_logs():
        end = [attendant.cancel_requested.set] if status == "cancelled" else []
        train((job, claim), [epoch(1), epoch(2), *end, Pause()])

    found, model = queue.get(job.id), registry.get("line")
    assert not faults
    assert (found.status, found.error, found.model_id) == (status, None, model.id)


@pytest.mark.parametrize("status", ["queued", "cancelled"])
def test_a_worker_that_stops_while_its_model_has_no_room_costs_no_attempt(
    queue: Queue, registry: Registry, storage: Storage, attendant: Attendant, train: Train, claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch, status: str,
):  # fmt: skip
    job, claim = claimed()

    def full(*_: object) -> None:
        attendant.stop_requested.set()
        raise StorageFull("no space")

    def cancel() -> None:
        queue.cancel(job.id)
        attendant.cancel_requested.set()

    monkeypatch.setattr(Weights, "save", full)
    with capture_logs(), pytest.raises(LeaseLost):
        train((job, claim), [epoch(1), *([cancel] if status == "cancelled" else []), Pause()])

    assert (queue.get(job.id).status, queue.get(job.id).attempt) == (status, 1)
    assert nothing_is_left(storage, registry)


def test_a_job_that_was_taken_on_keeps_its_model_though_the_disks_budget_is_used_up_meanwhile(
    queue: Queue, registry: Registry, storage: Storage, train: Train, claimed: Claimed
):
    job, claim = claimed(model_name="line")

    def use_up() -> None:
        storage.disk = Disk(storage.root, budget_bytes=1)

    train((job, claim), [epoch(1), use_up])

    assert (queue.get(job.id).status, queue.get(job.id).model_id) == ("succeeded", registry.get("line").id)


def test_a_model_whose_row_cannot_be_written_fails_its_job_and_leaves_nothing(
    database: Database, registry: Registry, storage: Storage, train: Train, claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    def refuse(session: Session, **fields: object) -> ModelRow:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(registry, "add", refuse)
    job, claim = claimed(model_name="line")

    with capture_logs():
        train((job, claim), [epoch(1), epoch(2)])

    with database.read() as session:
        found = session.get_one(JobRow, job.id)
    assert found.status == "failed"
    assert found.error is not None
    assert found.error["code"] == "internal-error"
    assert [row.epoch for row in history.read(database, job.id, 0, 9)] == [1, 2]
    assert nothing_is_left(storage, registry)
    with pytest.raises(ModelNotFound):
        registry.get("line")


LOCKED = OperationalError("", {}, Exception("database is locked"))


@pytest.mark.parametrize("late", [1, 2], ids=["going on", "ending"])
def test_a_database_that_others_hold_for_long_costs_no_job(
    database: Database, queue: Queue, registry: Registry, train: Train, claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch, late: int,
):  # fmt: skip
    job, claim = claimed(model_name="line")
    job.epoch = 1  # as if an attempt before had left a history
    write, calls = database.write, []

    def held() -> AbstractContextManager[Session]:
        calls.append(None)
        if len(calls) == late:
            raise LOCKED
        return write()

    monkeypatch.setattr(attendant_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(database, "write", held)

    with capture_logs() as logged:
        train((job, claim), [epoch(1), epoch(2)])

    assert (queue.get(job.id).status, queue.get(job.id).model_id) == ("succeeded", registry.get("line").id)
    assert [line["job"] for line in logged] == [job.id]


def test_a_job_that_cannot_be_handed_back_is_left_to_whoever_buries_the_worker(
    database: Database, queue: Queue, attendant: Attendant, train: Train, claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    job, claim = claimed()

    def held(_: Claim) -> None:
        raise LOCKED

    monkeypatch.setattr(queue, "hand_back", held)

    with capture_logs(), pytest.raises(LeaseLost):
        train((job, claim), [epoch(1), attendant.stop_requested.set, Pause(), epoch(2)])

    assert (queue.get(job.id).status, queue.get(job.id).error) == ("running", None)


def test_a_worker_that_stops_after_an_end_whose_answer_was_lost_leaves_the_model(
    database: Database, queue: Queue, storage: Storage, attendant: Attendant, train: Train, claimed: Claimed,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    job, claim = claimed(model_name="line")
    write, faults = database.write, [OperationalError("", {}, Exception("cut off"), connection_invalidated=True)]

    @contextmanager
    def cut_off() -> Iterator[Session]:
        with write() as session:
            yield session
        if faults:
            attendant.stop_requested.set()
            raise faults.pop()

    monkeypatch.setattr(database, "write", cut_off)

    with capture_logs(), pytest.raises(LeaseLost):
        train((job, claim), [epoch(1)])

    assert queue.get(job.id).status == "succeeded"
    assert models(storage) == [queue.get(job.id).model_id]


def test_an_end_that_was_committed_though_the_connection_was_lost_keeps_its_model(
    queue: Queue, registry: Registry, storage: Storage, train: Train, claimed: Claimed, cut_off: Callable[[], None]
):
    job, claim = claimed(model_name="line")
    cut_off()

    with capture_logs():
        train((job, claim), [epoch(1)])

    model = registry.get("line")
    assert (queue.get(job.id).status, queue.get(job.id).model_id) == ("succeeded", model.id)
    assert models(storage) == [model.id]
