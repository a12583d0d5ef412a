"""Steps recorded once and replayed: a CUDA graph launches them all at once, so that no gap is left between them.

What is recorded works on tensors that stay where they are; what changes (the rows of a block, the rates) is put there
before. Elsewhere than on CUDA the same steps are simply run.
"""

from collections.abc import Callable, Sequence

import torch

from app.training.cuda_rows import has_streams

Replay = Callable[[], None]

WARM_UPS = 3
"""Runs before the recording, in which cuBLAS and the allocator settle, as torch's notes on graphs have it."""
AHEAD = 2
"""Replays that the host is ahead of the device at most, so that it can stop."""


class Recorder:
    """Records steps that change `state`, which is as before once they are recorded.

    The recordings of one recorder share a stream, and cuBLAS's workspace on it: they have to end together.
    """

    def __init__(self, device: torch.device, state: Sequence[torch.Tensor]) -> None:
        self._device, self._state = device, state
        self._stream = torch.cuda.Stream(device) if has_streams(device) else None  # type: ignore[no-untyped-call]
        self._launched: list[torch.cuda.Event] = []

    def recorded(self, steps: Replay, first: Replay) -> Replay:
        """`steps` as something to call again and again; `first` is a short part of them that is as good to warm up."""
        if self._stream is None:
            return steps
        before = [tensor.clone() for tensor in self._state]
        here, graph = torch.cuda.current_stream(self._device), torch.cuda.CUDAGraph()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                first()
                self._restore(before)
        here.wait_stream(self._stream)
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            steps()
        here.wait_stream(self._stream)

        def replay() -> None:
            self._keep_near()
            graph.replay()
            self._launched.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
            self._launched[-1].record()

        return replay

    def _restore(self, values: Sequence[torch.Tensor]) -> None:
        for tensor, value in zip(self._state, values, strict=True):
            tensor.copy_(value)

    def _keep_near(self) -> None:
        """Wait until the device has begun the replay before the last."""
        while len(self._launched) >= AHEAD:
            self._launched.pop(0).synchronize()
