"""Which devices this machine has, and which one a problem should be trained on."""

from app.training import cost
from app.training.errors import DeviceFailed, DeviceUnavailable
from app.training.hyperparameters import Hyperparameters
from app.training.problem import Problem


def available() -> list[str]:
    """The devices of this machine, the CPU first. Imports torch."""
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def gpu() -> str:
    """The GPU and the CUDA that torch was built for, on which bits depend."""
    import torch

    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"


def release() -> None:
    """Give the GPU's memory that a training has left back to others; nothing where none has used it.

    Raises:  DeviceFailed if the GPU has failed: what failed once fails in this process for ever
    """
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError as error:
        raise DeviceFailed(str(error)) from error


def choose(options: Hyperparameters, problem: Problem) -> str:
    """The device to train on: the one that the options name, or for "auto" the one that is likely to be over first.

    Raises:  DeviceUnavailable if "cuda" is requested where there is none
    """
    if options.device == "cpu":
        return "cpu"
    if options.device == "cuda":
        if "cuda" not in available():
            raise DeviceUnavailable("this machine has no CUDA device; use the device cpu or auto")
        return "cuda"
    rows = problem.train.count
    shape = cost.Shape(problem.train.features, problem.outputs, min(options.batch_size or rows, rows))
    return "cuda" if cost.is_worth_a_gpu(options, shape, rows) and "cuda" in available() else "cpu"
