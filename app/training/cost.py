"""What a minibatch step costs in nanoseconds: the choice between the regimes, and the pauses.

    compiled   24 + 0.13·dk + n·(9 + 0.043·d + 0.076·dk + (13 + 4k if k > 1))
    gemm       5200 + 0.6·dK + n·(8 + 0.15·d + 0.033·dK + (1.8·K if k > 1))        K = k padded to a multiple of 16

Fitted to `python -m benchmarks.training cost` with OPENBLAS_NUM_THREADS=1 on an AMD EPYC (Zen 5): 100 shapes from
2×1 to 2000×40, batches of 1 to 1024, typical error 15 %; where the choice is not the faster regime it costs at most
22 %. With two idle cores the products of `gemm` take 0.6 times as long, which moves the border little.
"""

from dataclasses import dataclass

PADDING = 16
"""Columns that a GEMM is padded to: 256×784 · 784×10 took 97 µs, and 38 µs with 16 columns."""

PAUSE_NANOSECONDS = 1e8
CUDA_STEP_NANOSECONDS = 40_000
"""The kernels of one step replayed from a graph. An assumption until `python -m benchmarks cuda` has measured it."""
CUDA_START_NANOSECONDS = 2e9
"""The context, the data's way to the device, the recording. An assumption until it is measured."""


@dataclass(frozen=True, slots=True)
class Shape:
    """d features, k outputs, n rows of a minibatch."""

    features: int
    outputs: int
    batch: int


def padded(outputs: int) -> int:
    """Columns of the large regime: a lone output is a matrix-vector product and needs none."""
    return 1 if outputs == 1 else -(-outputs // PADDING) * PADDING


def compiled_step(shape: Shape) -> float:
    """Nanoseconds of a step in the small regime."""
    d, k, products = shape.features, shape.outputs, shape.features * shape.outputs
    classes = 13 + 4 * k if k > 1 else 0
    return 24 + 0.13 * products + shape.batch * (9 + 0.043 * d + 0.076 * products + classes)


def gemm_step(shape: Shape) -> float:
    """Nanoseconds of a step in the large regime."""
    columns = padded(shape.outputs)
    products = shape.features * columns
    classes = 1.8 * columns if columns > 1 else 0
    return 5200 + 0.6 * products + shape.batch * (8 + 0.15 * shape.features + 0.033 * products + classes)


def small(shape: Shape) -> bool:
    """Whether the small regime is the faster one."""
    return compiled_step(shape) <= gemm_step(shape)


def steps_between_pauses(shape: Shape) -> int:
    """Steps of about a tenth of a second."""
    return max(1, int(PAUSE_NANOSECONDS / min(compiled_step(shape), gemm_step(shape))))


def cuda_is_faster(shape: Shape, steps: int) -> bool:
    """Whether `steps` steps are over sooner on CUDA, its start included."""
    on_cpu = steps * min(compiled_step(shape), gemm_step(shape))
    return on_cpu > CUDA_START_NANOSECONDS + steps * CUDA_STEP_NANOSECONDS
