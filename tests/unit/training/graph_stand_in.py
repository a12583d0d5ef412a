"""Stand-ins for CUDA's streams, events and graphs, so that recordings can be replayed where there is no GPU.

A recording notes every operation with the tensors it had, changes nothing, and is replayed on those very tensors: as
with a CUDA graph, whatever Python would do anew (another offset, another rate) is not done.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from app.training import cuda_recording, cuda_rows


class StandInEvent:
    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass


class StandInStream:
    def __init__(self, device: Any = None) -> None:
        pass

    def wait_stream(self, other: "StandInStream") -> None:
        pass

    def wait_event(self, event: StandInEvent) -> None:
        pass


class StandInGraph:
    """Operations, and the replay of them."""

    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        for function, given, named, made in self.operations:
            again = function(*given, **named)
            for old, new in zip(_tensors(made), _tensors(again), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Recording(TorchDispatchMode):
    """Notes what is done, and undoes it at the end."""

    def __init__(self, graph: StandInGraph) -> None:
        super().__init__()
        self._graph = graph
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self._own: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert "_local_scalar_dense" not in str(function), "the host may not look into a tensor of a recording"
        for tensor in _tensors((args, kwargs)):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._own | self._before.keys():
                self._before[storage.data_ptr()] = storage, storage.clone()
        made = function(*args, **(kwargs or {}))
        self._own |= {tensor.untyped_storage().data_ptr() for tensor in _tensors(made)} - self._before.keys()
        self._graph.operations.append((function, args, kwargs or {}, made))
        return made

    def undo(self) -> None:
        for storage, value in self._before.values():
            storage.copy_(value)


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


@contextmanager
def recording(graph: StandInGraph, **_: Any) -> Iterator[None]:
    mode = Recording(graph)
    with mode:
        yield
    mode.undo()


def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[StandInGraph]:
    """Have the CUDA engine record on the CPU; the graphs it will make."""
    graphs: list[StandInGraph] = []

    def made() -> StandInGraph:
        graphs.append(StandInGraph())
        return graphs[-1]

    for module in (cuda_recording, cuda_rows):
        monkeypatch.setattr(module, "has_streams", lambda _: True)
    for name, substitute in {
        "Stream": StandInStream, "Event": StandInEvent, "CUDAGraph": made, "graph": recording,
        "stream": lambda _: nullcontext(), "current_stream": StandInStream,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, substitute)
    return graphs
