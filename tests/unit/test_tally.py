"""The tally: counters that processes share."""

import fcntl
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.tally import FILE, Count, Tally


@pytest.fixture
def held_up(tmp_path: Path) -> Iterator[None]:
    """Another process has the lock, and does nothing with it."""
    Tally(tmp_path).add(epochs=7)
    with (tmp_path / FILE).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def soon(do: Callable[[], object]) -> bool:
    done = threading.Event()
    threading.Thread(target=lambda: (do(), done.set()), daemon=True).start()
    return done.wait(10.0)


def count(folder: Path) -> None:
    for _ in range(200):
        Tally(folder).add(epochs=1, samples=10)


def test_before_anything_is_counted_every_sum_is_zero(tmp_path: Path):
    assert Tally(tmp_path).sums() == dict.fromkeys(Count, 0)


def test_what_is_counted_is_added_up_and_outlives_its_process(tmp_path: Path):
    Tally(tmp_path).add(epochs=3, samples=3000)
    Tally(tmp_path).add(epochs=2, matrix_hits=1)

    sums = Tally(tmp_path).sums()
    assert (sums[Count.EPOCHS], sums[Count.SAMPLES], sums[Count.MATRIX_HITS]) == (5, 3000, 1)


def test_processes_that_count_at_once_lose_nothing(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=count, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert Tally(tmp_path).sums()[Count.EPOCHS] == 800
    assert Tally(tmp_path).sums()[Count.SAMPLES] == 8000


def test_the_file_of_an_earlier_version_with_fewer_counters_is_read(tmp_path: Path):
    Tally(tmp_path).add(epochs=7)
    os.truncate(tmp_path / FILE, 8)

    Tally(tmp_path).add(matrix_misses=1)

    sums = Tally(tmp_path).sums()
    assert (sums[Count.EPOCHS], sums[Count.MATRIX_MISSES]) == (7, 1)


def test_where_nothing_can_be_written_the_count_is_lost_and_nothing_else(tmp_path: Path):
    with capture_logs() as logged:
        Tally(tmp_path / "gone").add(epochs=1)

    assert [line["epochs"] for line in logged] == [1]


@pytest.mark.usefixtures("held_up")
def test_where_another_process_is_held_up_while_it_counts_the_count_is_lost_and_nothing_else(tmp_path: Path):
    with capture_logs() as logged:
        assert soon(lambda: Tally(tmp_path).add(epochs=1))

    assert [line["epochs"] for line in logged] == [1]


@pytest.mark.usefixtures("held_up")
def test_where_another_process_is_held_up_while_it_counts_the_sums_are_read(tmp_path: Path):
    sums: list[dict[Count, int]] = []

    assert soon(lambda: sums.append(Tally(tmp_path).sums()))
    assert sums[0][Count.EPOCHS] == 7
