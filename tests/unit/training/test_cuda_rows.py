"""Rows in blocks on their way to a GPU, where host, copies and steps each go at a pace of their own.

A stand-in for the device holds two queues, of the copies and of the steps, and takes from them in an order drawn at
random, as far as events allow it. Whatever the order, each step must find the rows that are its own.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from app.training import cuda_rows
from app.training.cuda_rows import Streamed
from tests.unit.training.reference import blobs

ASYNCHRONOUS = (torch.ops.aten.copy_.default, torch.ops.aten.fill_.Scalar)


class Device:
    """The queues, and which of them is asked for now."""

    def __init__(self, seed: int) -> None:
        self.queues: dict[str, deque[tuple[Callable[[], object], Callable[[], bool]]]] = {
            "steps": deque(),
            "copies": deque(),
        }
        self.current = "steps"
        self._generator = np.random.default_rng(seed)

    def enqueue(self, work: Callable[[], object], is_ready: Callable[[], bool] = lambda: True) -> None:
        self.queues[self.current].append((work, is_ready))

    def advance(self) -> None:
        """Do what is next in one of the queues that need not wait."""
        ready = [queue for queue in self.queues.values() if queue and queue[0][1]()]
        assert ready, "the queues wait for each other"
        with _disable_current_modes():  # now it is done, not launched
            ready[self._generator.integers(len(ready))].popleft()[0]()

    def finish(self) -> None:
        while any(self.queues.values()):
            self.advance()

    @contextmanager
    def on(self, stream: "Stream") -> Iterator[None]:
        before, self.current = self.current, stream.name
        yield
        self.current = before


class Stream:
    def __init__(self, device: Device, name: str) -> None:
        self.device, self.name = device, name

    def wait_event(self, event: "Event") -> None:
        count = event.recorded
        with self.device.on(self):
            self.device.enqueue(lambda: None, lambda: event.passed >= count)

    def wait_stream(self, other: "Stream") -> None:
        event = Event(self.device)
        with self.device.on(other):
            event.record()
        self.wait_event(event)


class Event:
    def __init__(self, device: Device) -> None:
        self._device, self.recorded, self.passed = device, 0, 0

    def record(self) -> None:
        self.recorded += 1
        self._device.enqueue(self._pass)

    def _pass(self) -> None:
        self.passed += 1

    def synchronize(self) -> None:
        while self.passed < self.recorded:
            self._device.advance()


class Launches(TorchDispatchMode):
    """What changes tensors of the device is put into the current queue."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self._device = device

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function not in ASYNCHRONOUS:
            return function(*args, **(kwargs or {}))
        self._device.enqueue(lambda: function(*args, **(kwargs or {})))
        return args[0]


def installed(seed: int, monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device in place of CUDA's."""
    made = Device(seed)
    monkeypatch.setattr(cuda_rows, "has_streams", lambda _: True)
    for name, substitute in {
        "Stream": lambda _: Stream(made, "copies"), "Event": lambda: Event(made), "stream": made.on,
        "current_stream": lambda: Stream(made, "steps"),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, substitute)
    return made


@pytest.fixture
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    return installed(request.param, monkeypatch)


def seen_by_the_steps(device: Device) -> tuple[np.ndarray, np.ndarray]:
    """The rows that the steps of an epoch find, and those that they should."""
    rows, order = blobs(rows=103, pixels=True).train, np.random.default_rng(1).permutation(103)
    source, found = Streamed(rows, torch.device("cpu"), 10), np.zeros_like(rows.X)
    block = torch.zeros(10, rows.features)
    with Launches(device):
        for first in range(0, 103, 10):
            places = np.arange(first, min(first + 10, 103))
            source.fill(block[: len(places)], torch.from_numpy(places), order[places])

            def step(places: np.ndarray = places) -> None:
                found[places] = block[: len(places)].numpy()

            device.enqueue(step)
    device.finish()
    return found, rows.X[order]


seeds = pytest.mark.parametrize("device", range(20), indirect=True)


@seeds
def test_each_step_finds_its_own_rows_however_far_host_and_copies_are_ahead(device: Device) -> None:
    found, expected = seen_by_the_steps(device)
    np.testing.assert_array_equal(found, expected)


@seeds
def test_rows_that_are_measured_come_as_they_lie(device: Device) -> None:
    rows = blobs(rows=103).train
    source, found = Streamed(rows, torch.device("cpu"), 10), np.zeros_like(rows.X)
    with Launches(device):
        for first in range(0, 103, 10):
            block = source.between(first, min(first + 10, 103))

            def measure(first: int = first, block: torch.Tensor = block) -> None:
                found[first : first + 10] = block.numpy()

            device.enqueue(measure)
    device.finish()
    np.testing.assert_array_equal(found, rows.X)


@pytest.mark.parametrize("missing", ["wait_event", "synchronize"])
def test_without_its_events_rows_would_be_mixed_up(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in is as unkind as it is meant to be."""
    monkeypatch.setattr(Stream if missing == "wait_event" else Event, missing, lambda *_: None)
    mixed_up = 0
    for seed in range(20):
        with monkeypatch.context() as patched:
            found, expected = seen_by_the_steps(installed(seed, patched))
        mixed_up += bool((found != expected).any())
    assert mixed_up > 10
