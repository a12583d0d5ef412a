"""Checkpoints on disk: they come back bit by bit, or not at all."""

import time
from threading import Event, Thread
from threading import enumerate as running_threads

import numpy as np
import pytest
from structlog.testing import capture_logs

from app.jobs import checkpoints
from app.storage import Storage
from app.training.problem import Parameters
from app.training.state import State
from app.worker.checkpoint import Best, Checkpoint, Checkpointer, identity

RANDOM = np.random.default_rng(0)


def parameters() -> Parameters:
    return Parameters(RANDOM.standard_normal((4, 3), np.float32), RANDOM.standard_normal(3, np.float32))


def checkpoint(epoch: int = 7) -> Checkpoint:
    return Checkpoint(
        State(epoch, parameters(), parameters(), parameters()), Best(0.1, parameters(), 3, 7), 12.5, "own"
    )


def test_it_comes_back_with_every_bit(storage: Storage) -> None:
    kept = checkpoint()
    storage.write(checkpoints.key("job"), kept.to_bytes())
    found = Checkpoint.load(storage, "job", "own")
    assert found is not None
    assert (found.state.epoch, found.seconds) == (7, 12.5)
    assert (found.best.loss, found.best.epoch, found.best.candidate) == (0.1, 3, 7)
    for one, other in zip(found.state.to_arrays()[0].items(), kept.state.to_arrays()[0].items(), strict=True):
        assert one[0] == other[0]
        assert one[1].tobytes() == other[1].tobytes()
    assert found.best.parameters.weights.tobytes() == kept.best.parameters.weights.tobytes()


def test_one_that_is_missing_damaged_or_of_another_machine_is_not_used(storage: Storage) -> None:
    assert Checkpoint.load(storage, "job", "own") is None
    data = checkpoint().to_bytes()
    storage.write(checkpoints.key("job"), data)
    assert Checkpoint.load(storage, "job", "other") is None
    storage.write(checkpoints.key("job"), data[:-10])
    assert Checkpoint.load(storage, "job", "own") is None
    storage.write(checkpoints.key("job"), b"no checkpoint")
    assert Checkpoint.load(storage, "job", "own") is None


def test_what_changes_no_bit_does_not_part_two_workers() -> None:
    spec = {"seed": 0, "priority": 1, "model_name": "a", "time_limit_seconds": None}
    assert identity({"device": "cpu"}, spec) == identity({"device": "cpu"}, {**spec, "priority": 2, "model_name": "b"})
    assert identity({"device": "cpu"}, spec) != identity({"device": "cpu"}, {**spec, "seed": 1})
    assert identity({"device": "cpu"}, spec) != identity({"device": "cuda"}, spec)


def test_it_is_written_once_the_history_until_there_is(storage: Storage) -> None:
    keeper = Checkpointer(storage, every_seconds=0.0)
    keeper.begin("job")
    keeper.look()
    assert keeper.wanted
    keeper.offer(checkpoint(epoch=7), 0.0)
    assert not keeper.wanted
    keeper.publish(written_epoch=6, wait=True)
    assert Checkpoint.load(storage, "job", "own") is None
    keeper.publish(written_epoch=7, wait=True)
    assert Checkpoint.load(storage, "job", "own") is not None
    keeper.finish()
    assert not keeper.wanted


def test_a_job_that_ends_while_a_checkpoint_is_about_to_be_written_waits_for_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Checkpointer(storage, every_seconds=0.0)
    keeper.begin("job")
    keeper.offer(checkpoint(epoch=7), 0.0)
    is_starting, start = Event(), Thread.start

    def start_late(thread: Thread) -> None:
        if thread.name == "checkpoint":
            is_starting.set()
            time.sleep(0.2)  # as a machine does that has other things to do
        start(thread)

    monkeypatch.setattr(Thread, "start", start_late)
    publisher = Thread(target=keeper.publish, args=(7,))
    publisher.start()
    assert is_starting.wait(10)

    keeper.finish()

    assert Checkpoint.load(storage, "job", "own") is not None
    assert not [thread for thread in running_threads() if thread.name == "checkpoint"]
    publisher.join()


def test_whoever_waits_waits_for_all_that_is_being_written_and_the_newest_stays(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, goes_on = storage.write, Event()

    def held_up(key: str, data: bytes) -> None:
        if not goes_on.is_set():
            goes_on.wait(10)
            time.sleep(0.1)
        write(key, data)

    monkeypatch.setattr(storage, "write", held_up)
    keeper = Checkpointer(storage, every_seconds=0.0)
    keeper.begin("job")
    for number in (7, 8):
        keeper.offer(checkpoint(epoch=number), 0.0)
        keeper.publish(written_epoch=number)

    goes_on.set()
    keeper.publish(written_epoch=8, wait=True)

    kept = Checkpoint.load(storage, "job", "own")
    assert kept is not None
    assert kept.state.epoch == 8


def test_one_that_cannot_be_written_is_tried_again_in_its_time(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Checkpoint) -> bytes:
        raise MemoryError

    monkeypatch.setattr(Checkpoint, "to_bytes", fail)
    keeper = Checkpointer(storage, every_seconds=60.0)
    keeper.begin("job")
    keeper.offer(checkpoint(epoch=7), 0.0)
    keeper._next_at = 0.0

    with capture_logs() as logged:
        keeper.publish(written_epoch=7, wait=True)
        keeper.look()

    assert [line["job"] for line in logged] == ["job"]
    assert not keeper.wanted
