"""Where the CUDA engine has its rows: on the device, or, where they do not fit there, in parts on their way to it.

Both fill the engine's block with the same rows of the same permutation, so that the weights do not depend on how much
memory is free.

    host    rows of the coming part, gathered in the epoch's order       one of two pinned buffers
      │ copied on a stream of its own, while the steps of the part before are computed
    device  one of two landing buffers
      │ copied once more, and widened, where the steps are computed
    device  the block that the recorded steps read

A buffer is written again once what reads it is over; events on the device say so, and the host waits for one only when
it is two parts ahead. Where the device is the CPU, which is for tests, the same copies follow one another.
"""

import warnings
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from app.training.problem import Rows

SHARE = 0.8
"""Of the device's free memory that may be laid out: cuBLAS and measuring need some as well."""
UPLOAD_ENTRIES = 16_000_000


class Source(Protocol):
    """The features of one split."""

    def fill(self, out: torch.Tensor, chosen: torch.Tensor, order: NDArray[np.int64]) -> None:
        """Put rows into `out` (m, d) float32: those that `chosen` names on the device, and `order` on the host."""

    def between(self, start: int, stop: int) -> torch.Tensor:
        """The rows start…stop−1 as they lie."""


class Resident:
    """Features that lie on the device."""

    def __init__(self, rows: Rows, device: torch.device) -> None:
        kind = torch.uint8 if rows.X.dtype == np.uint8 else torch.float32
        self._X = torch.empty(rows.X.shape, dtype=kind, device=device)
        for chosen, block in rows.blocks(UPLOAD_ENTRIES):
            self._X[chosen].copy_(tensor(block))

    def fill(self, out: torch.Tensor, chosen: torch.Tensor, order: NDArray[np.int64]) -> None:
        """See `Source`."""
        out.copy_(self._X.index_select(0, chosen))

    def between(self, start: int, stop: int) -> torch.Tensor:
        """See `Source`."""
        return self._X[start:stop]


class Streamed:
    """Features that stay with the host, `height` rows at a time on their way."""

    def __init__(self, rows: Rows, device: torch.device, height: int) -> None:
        self._rows, self._turn = rows, 0
        kind = torch.uint8 if rows.X.dtype == np.uint8 else torch.float32
        shape = (height, rows.features)
        self._has_streams = has_streams(device)
        self._pinned = [torch.empty(shape, dtype=kind, pin_memory=device.type == "cuda") for _ in range(2)]
        self._landing = [torch.empty(shape, dtype=kind, device=device) for _ in range(2)]
        self._block = torch.empty(shape, dtype=kind, device=device)
        if self._has_streams:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream())  # which may still use what the buffers were before
            self._landed, self._taken = _events(), _events()

    def fill(self, out: torch.Tensor, chosen: torch.Tensor, order: NDArray[np.int64]) -> None:
        """See `Source`. Steps that were launched before still read what `out` held when they were launched."""
        buffer = self._free_buffer()
        np.take(self._rows.X, order, axis=0, out=buffer.numpy()[: len(order)], mode="clip")
        self._send(out)

    def between(self, start: int, stop: int) -> torch.Tensor:
        """See `Source`."""
        buffer = self._free_buffer()
        np.copyto(buffer.numpy()[: stop - start], self._rows.X[start:stop])
        self._send(self._block[: stop - start])
        return self._block[: stop - start]

    def _free_buffer(self) -> torch.Tensor:
        """The pinned buffer whose turn it is, once its last copy is over. An event that never was is over."""
        self._turn = 1 - self._turn
        if self._has_streams:
            self._landed[self._turn].synchronize()
        return self._pinned[self._turn]

    def _send(self, out: torch.Tensor) -> None:
        """Copy what the pinned buffer holds to the device, and there to its place when its turn has come."""
        turn, count = self._turn, len(out)
        pinned, landing = self._pinned[turn][:count], self._landing[turn][:count]
        if self._has_streams:
            self._stream.wait_event(self._taken[turn])
            with torch.cuda.stream(self._stream):
                landing.copy_(pinned, non_blocking=True)
                self._landed[turn].record()
            torch.cuda.current_stream().wait_event(self._landed[turn])
        else:
            landing.copy_(pinned)
        out.copy_(landing)
        if self._has_streams:
            self._taken[turn].record()


def has_streams(device: torch.device) -> bool:
    """Whether work on the device goes on while the host does something else."""
    return device.type == "cuda"


def _events() -> list[torch.cuda.Event]:
    return [torch.cuda.Event() for _ in range(2)]  # type: ignore[no-untyped-call]


def budget(device: torch.device, others: float) -> float:
    """Bytes that rows may take on the device, where `others` are needed beside them."""
    if device.type != "cuda":
        return float("inf")
    torch.cuda.empty_cache()  # what earlier trainings of this process have left is free too
    return max(0.0, SHARE * torch.cuda.mem_get_info(device)[0] - others)


def tensor(array: NDArray[Any]) -> torch.Tensor:
    """A view of an array, which is only read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))
