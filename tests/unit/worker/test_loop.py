"""The loop of a worker, between two jobs."""

import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from app.database import Database
from app.errors import StorageFull
from app.job_status import Status
from app.jobs.order import Order
from app.jobs.queue import LeaseLost
from app.settings import Settings
from app.training import devices
from app.training.errors import DeviceFailed
from app.worker import loop as module
from app.worker.execution import Execution
from app.worker.loop import Worker
from app.worker.outcome import Outcome
from app.worker.parent import GAVE_UP


@pytest.fixture
def worker(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)  # a worker moves it, for its own process
    made = Worker(Settings(data_dir=tmp_path, database_url=str(database.engine.url)), supervisor=0)
    yield made
    made._bell.close()
    made._database.dispose()


def locked() -> Exception:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return OperationalError("", {}, error)


@pytest.mark.parametrize("fault", [locked(), StorageFull("no space")], ids=["held", "full"])
def test_a_worker_waits_where_nothing_can_be_claimed_for_a_while(
    worker: Worker, fault: Exception, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(worker._queue, "claim", fail)

    with capture_logs() as logged:
        assert worker._next("w", ["cpu"]) is None
    assert [line["event"] for line in logged] == ["no job can be claimed now"]


def test_a_claim_that_was_committed_though_its_answer_was_lost_is_carried_out(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
):
    job, _ = worker._queue.submit(Order({}, "linear", None, None, 1, "auto"))
    claim = worker._queue.claim
    lost = OperationalError("", {}, Exception("the server closed the connection"), connection_invalidated=True)

    def cut_off(worker_id: str, devices: list[str]) -> None:
        claim(worker_id, devices)
        raise lost

    with monkeypatch.context() as outage, capture_logs():
        outage.setattr(worker._queue, "claim", cut_off)
        assert worker._next("w", ["cpu"]) is None
    found, nothing = worker._next("w", ["cpu"]), worker._next("w", ["cpu"])

    assert found is not None
    assert (found.id, found.worker_id, found.attempt) == (job.id, "w", 1)
    assert nothing is None


def test_a_worker_whose_database_is_unfit_does_not_go_on(worker: Worker, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OperationalError("", {}, sqlite3.OperationalError("no such table: jobs"))

    monkeypatch.setattr(worker._queue, "claim", fail)

    with pytest.raises(OperationalError, match="no such table"):
        worker._next("w", ["cpu"])


@pytest.mark.parametrize(
    ("ending", "line"),
    [
        (
            Outcome(Status.DIVERGED, error={"code": "diverged", "detail": "…"}, epochs=2),
            {"event": "a job is over", "log_level": "info", "status": "diverged", "epochs": 2, "error": "diverged"},
        ),
        (Outcome(Status.SUCCEEDED), {"event": "a job is over", "log_level": "info", "status": "succeeded"}),
        (
            LeaseLost("the job was handed back"),
            {
                "event": "a job is left to another worker",
                "log_level": "warning",
                "reason": "the job was handed back",
            },
        ),
    ],
    ids=["diverged", "succeeded", "handed back"],
)
def test_a_job_is_a_line_of_the_log_when_it_is_claimed_and_one_when_it_ends(
    worker: Worker, ending: Outcome | LeaseLost, line: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    def run(_: object) -> Outcome:
        assert worker._attendant.is_deaf
        worker._attendant.stop_requested.set()
        if isinstance(ending, LeaseLost):
            raise ending
        return ending

    monkeypatch.setattr(module, "_give_way", lambda: None)
    monkeypatch.setattr(Execution, "run", run)
    monkeypatch.setattr(worker, "_next", lambda *_: SimpleNamespace(id="j", attempt=1, kind="train"))

    with capture_logs([structlog.contextvars.merge_contextvars]) as logged:
        assert worker._serve("w", ["cpu"]) == 0

    own = {"job": "j", "attempt": 1}
    assert logged[0] == {**own, "event": "a job is claimed", "log_level": "info", "kind": "train"}
    assert isinstance(logged[1].pop("seconds", 0.0), float)
    assert logged[1:] == [{**own, **line}]
    assert not worker._attendant.is_deaf, "or the process would be ended while it claims the next job"


def test_a_worker_whose_gpu_has_failed_makes_place_for_another(worker: Worker, monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []

    def release() -> None:
        if len(done) == 2:
            raise DeviceFailed("an illegal memory access")

    monkeypatch.setattr(worker, "_next", lambda *_: SimpleNamespace(id="j", attempt=1))
    monkeypatch.setattr(worker, "_execute", lambda _, job: done.append(job.id))
    monkeypatch.setattr(devices, "release", release)

    with capture_logs() as logged:
        assert worker._serve("w", ["cpu", "cuda"]) == GAVE_UP
    assert done == ["j", "j"]
    assert [line["log_level"] for line in logged] == ["error"]


@pytest.mark.parametrize(
    "interrupted",
    [Worker._stop, lambda worker: worker._attendant.stop_requested.wait(0.1)],
    ids=["the answer to another", "a wait for it"],
)
def test_the_signal_to_stop_may_come_in_the_middle_of_anything(worker: Worker, interrupted: Callable[[Worker], None]):
    def stop(*_: object) -> Any:
        worker._stop()
        return stop

    def be_stopped_at_each_line() -> None:
        sys.settrace(stop)
        interrupted(worker)

    main = threading.Thread(target=be_stopped_at_each_line, daemon=True)
    main.start()
    main.join(10.0)

    assert not main.is_alive()
    assert worker._attendant.stop_requested.is_set()
