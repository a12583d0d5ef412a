"""The CUDA engine beside the eager PyTorch loop on the same GPU and our CPU engine; its constants, and its gaps.

python -m benchmarks cuda     where there is no GPU it says so and ends
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from app.training import cost, kernels
from app.training.cuda import CudaEngine
from app.training.epoch import Epoch
from app.training.fit import fit
from app.training.fit import run as training
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem
from app.training.setting import Setting
from benchmarks.training import classes, fastest
from benchmarks.training_parity import FOLDER, fashion_mnist

BATCH, EPOCHS, RATE = 256, 10, 0.1
STREAMED_ROWS = 200_000


def images() -> Problem:
    """Fashion-MNIST's training images, or as many that are made up."""
    folder = Path(FOLDER)
    problem = fashion_mnist(folder) if folder.is_dir() else classes(60_000, 784, 10, pixels=True)
    return Problem(problem.train, None, 10)


def options(epochs: int = EPOCHS) -> Hyperparameters:
    """Those of the text."""
    return Hyperparameters(model="softmax", epochs=epochs, batch_size=BATCH, learning_rate=RATE)


def seconds(work: Callable[[], object]) -> float:
    """Seconds of one run, the device's work included."""
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def trained(problem: Problem, device: str, epochs: int = EPOCHS) -> Epoch:
    """The last epoch of ours."""
    return [step for step in fit(problem, options(epochs), device) if isinstance(step, Epoch)][-1]


def eager(problem: Problem) -> None:
    """The textbook's loop with everything on the GPU: autograd, torch.optim.SGD, one step after the other."""
    X = torch.from_numpy(problem.train.X.copy()).cuda().float().mul_(problem.train.scale)
    y = torch.from_numpy(problem.train.y.copy()).long().cuda()
    net = torch.nn.Linear(X.shape[1], problem.outputs, device="cuda")
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(X), device="cuda").split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(X[chosen]), y[chosen]).backward()
            optimizer.step()


def constants(problem: Problem) -> None:
    """What `cost` assumes: the start of the first training of a process, and a step."""
    first = seconds(lambda: trained(problem, "cuda", 1))
    one, ten = (fastest(lambda e=epochs: seconds(lambda: trained(problem, "cuda", e)), 3) for epochs in (1, 10))  # type: ignore[misc]
    step = (ten - one) / (9 * -(-problem.train.count // BATCH))
    step -= 1e-9 * cost.CUDA_ENTRY_NANOSECONDS * BATCH * problem.train.features
    print(f"CUDA_START_NANOSECONDS {first * 1e9:.2g} (later in the process {one * 1e9:.2g}),", end=" ")
    print(f"CUDA_STEP_NANOSECONDS {step * 1e9:.0f}")


def ratios(problem: Problem) -> None:
    """Ten epochs of ours, of the eager loop, and of our CPU engine."""
    ours = fastest(lambda: seconds(lambda: trained(problem, "cuda")), 3)
    theirs = fastest(lambda: seconds(lambda: eager(problem)), 2)
    cpu = fastest(lambda: seconds(lambda: trained(problem, "cpu")), 2)
    print(f"Fashion-MNIST, {EPOCHS} epochs, batch {BATCH}: {ours * 1e3:.1f} ms")
    print(f"    the eager loop on this GPU {theirs * 1e3:.0f} ms: {theirs / ours:.1f} ×")
    print(f"    our CPU engine {cpu * 1e3:.0f} ms: {cpu / ours:.1f} ×")
    print(f"    losses {trained(problem, 'cuda').train_loss:.5f}, on the CPU {trained(problem, 'cpu').train_loss:.5f}")


def timeline(problem: Problem) -> None:
    """The share of an epoch in which no kernel runs, from a trace of the device."""
    setting = Setting.of(problem, options(3))
    engine = CudaEngine(setting)
    steps = training(setting, engine)
    for step in steps:
        if isinstance(step, Epoch):
            break  # it is recorded now
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for step in steps:
            if isinstance(step, Epoch):
                break
        torch.cuda.synchronize()
    times = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
    )
    if not times:
        print("the profiler has seen no kernel; try `nsys profile python -m benchmarks cuda`")
        return
    busy, until, gaps = 0.0, times[0][0], []
    for start, end in times:
        gaps.append(max(0.0, start - until))
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    whole = until - times[0][0]
    print(
        f"an epoch's timeline: {len(times)} kernels in {whole / 1e3:.2f} ms, idle {1 - busy / whole:.1%} of it;",
        end=" ",
    )
    print(f"between two kernels {np.median(gaps):.2f} µs, at most {max(gaps):.1f} µs")


def streamed() -> None:
    """An epoch of rows that lie on the device, beside one of rows that come in blocks."""
    problem = classes(STREAMED_ROWS, 784, 10, pixels=True)
    setting = Setting.of(problem, options(3))

    def epochs(budget: float | None) -> list[float]:
        engine, times = CudaEngine(setting, budget_bytes=budget), []
        start = time.perf_counter()
        for step in training(setting, engine):
            if isinstance(step, Epoch):
                times.append(time.perf_counter() - start)
                start = time.perf_counter()
        return times

    resident, in_blocks = min(epochs(None)[1:]), min(epochs(0.0)[1:])
    rate = problem.train.X.nbytes / in_blocks / 1e9
    print(f"{STREAMED_ROWS} × 784 pixels, an epoch: resident {resident * 1e3:.1f} ms,", end=" ")
    print(f"streamed {in_blocks * 1e3:.1f} ms, {rate:.1f} GB/s")


def run() -> None:
    """Everything, where there is a GPU."""
    if not torch.cuda.is_available():
        print("There is no CUDA device here.")
        return
    kernels.warm()
    problem = images()
    constants(problem)  # before anything else has started CUDA
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    ratios(problem)
    streamed()
    timeline(problem)


if __name__ == "__main__":
    run()
