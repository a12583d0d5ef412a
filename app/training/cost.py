"""What a minibatch step costs in nanoseconds: the choice between the regimes, how many threads share it, the pauses.

    compiled    17 + 0.29·dk + n·(5.9 + 0.23·d + 0.16·dk + (32 + 6.2k if k > 1))
    tiled      680 + 0.44·dk + n·(10 + 0.18·d + 0.044·dk + (3k if k > 1))

Fitted to `python -m benchmarks.training cost` with one thread on an AMD EPYC (Zen 3): 100 shapes from 2×1 to 2000×40,
batches of 1 to 1024, the fastest of three runs, typical error 8 %; where the choice is not the faster regime it costs
at most 16 %.
"""

from dataclasses import dataclass

from app.training.hyperparameters import Hyperparameters

MEETING_NANOSECONDS = 10_000
"""Work that a meeting of threads has to be worth."""
SHARING_NANOSECONDS = 2_000
"""What sharing adds to a step: two meetings, of about 400 each where all have a core, and an allowance for members that
come late and for the gradients and parameters that they hand each other."""
PAUSE_NANOSECONDS = 1e8
CUDA_STEP_NANOSECONDS = 40_000
"""The kernels of one step replayed from a graph. An assumption until `python -m benchmarks cuda` has measured it."""
CUDA_ENTRY_NANOSECONDS = 0.03
"""A feature of a row, laid ready and read twice: 16 bytes at 500 GB/s, as a GPU of some years has it."""
CUDA_START_NANOSECONDS = 2e9
"""The context, the data's way to the device, the recording. An assumption until it is measured."""


@dataclass(frozen=True, slots=True)
class Shape:
    """d features, k outputs, n rows of a minibatch."""

    features: int
    outputs: int
    batch: int


def compiled_step(shape: Shape) -> float:
    """Nanoseconds of a step in the small regime."""
    d, k, products = shape.features, shape.outputs, shape.features * shape.outputs
    classes = 32 + 6.2 * k if k > 1 else 0
    return 17 + 0.29 * products + shape.batch * (5.9 + 0.23 * d + 0.16 * products + classes)


def tiled_step(shape: Shape) -> float:
    """Nanoseconds of a step in the large regime, by one thread."""
    d, k, products = shape.features, shape.outputs, shape.features * shape.outputs
    classes = 3 * k if k > 1 else 0
    return 680 + 0.44 * products + shape.batch * (10 + 0.18 * d + 0.044 * products + classes)


def members(shape: Shape, threads: int) -> int:
    """Threads that share a step of the large regime, so that each has some work between two meetings."""
    return max(1, min(threads, shape.batch, int(tiled_step(shape) / MEETING_NANOSECONDS)))


def small(shape: Shape, threads: int = 1) -> bool:
    """Whether the small regime, which is one thread's, is the faster one."""
    team = members(shape, threads)
    sharing = 0 if team == 1 else SHARING_NANOSECONDS
    return compiled_step(shape) <= tiled_step(shape) / team + sharing


def steps_between_pauses(shape: Shape) -> int:
    """Steps of about a tenth of a second."""
    return max(1, int(PAUSE_NANOSECONDS / min(compiled_step(shape), tiled_step(shape))))


def cuda_step(shape: Shape) -> float:
    """Nanoseconds of a step on CUDA."""
    return CUDA_STEP_NANOSECONDS + CUDA_ENTRY_NANOSECONDS * shape.batch * shape.features


def is_worth_a_gpu(options: Hyperparameters, shape: Shape, rows: int) -> bool:
    """Whether a training that may choose should go to a GPU; only minibatch steps are worth one of their own accord."""
    if options.solver != "sgd" or options.sweep is not None:
        return False
    return cuda_is_faster(shape, (options.epochs or 1) * -(-rows // shape.batch))


def cuda_is_faster(shape: Shape, steps: int) -> bool:
    """Whether `steps` steps are over sooner on CUDA, its start included."""
    on_cpu = steps * min(compiled_step(shape), tiled_step(shape))
    return on_cpu > CUDA_START_NANOSECONDS + steps * cuda_step(shape)
