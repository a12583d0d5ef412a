"""What a minibatch step costs in nanoseconds: the choice between the regimes, and the pauses.

    compiled   STEP + n·(ROW + OUTPUT·k + MULTIPLY·d·k)                       no call between the steps
    gemm       CALLS + n·(GATHER·d + ANSWER·K + PRODUCT·d·K) + UPDATE·d·K     K = k padded to a multiple of 16

The constants are minima of repeated runs of `benchmarks/training.py` on two cores of an AMD EPYC (Zen 5) with
NumPy's OpenBLAS, rounded; only their ratios matter to the choice.
"""

from dataclasses import dataclass

PADDING = 16
"""Columns that a GEMM is padded to: 256×784 · 784×10 took 97 µs, and 38 µs with 16 columns."""

PAUSE_NANOSECONDS = 1e8
CUDA_STEP_NANOSECONDS = 150_000
"""Launches of one step on CUDA. An assumption until it is measured."""
CUDA_START_NANOSECONDS = 2e9
"""The context, and the data's way to the device. An assumption until it is measured."""


@dataclass(frozen=True, slots=True)
class Shape:
    """d features, k outputs, n rows of a minibatch; whether the loss is over classes."""

    features: int
    outputs: int
    batch: int


def padded(outputs: int) -> int:
    """Columns of the large regime: a lone output is a matrix-vector product and needs none."""
    return 1 if outputs == 1 else -(-outputs // PADDING) * PADDING


def compiled_step(shape: Shape) -> float:
    """Nanoseconds of a step in the small regime."""
    products = shape.features * shape.outputs
    return 25 + 0.3 * products + shape.batch * (8 + 8 * (shape.outputs - 1) + 0.08 * products)


def gemm_step(shape: Shape) -> float:
    """Nanoseconds of a step in the large regime."""
    columns = padded(shape.outputs)
    products = shape.features * columns
    row = 0.18 * shape.features + 3 * columns + 0.025 * products
    return 12_000 + shape.batch * row + 0.3 * products


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
