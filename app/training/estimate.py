"""How long a training is likely to take, before it has begun. Nanoseconds a row, unless said otherwise.

    exact      12 + 3w + 0.014·w² + 8k, and 0.1·d³ once             w = d + k
    lbfgs      an evaluation of loss and gradient, times the iterations, two more for the start; each 120 000 beside
        float64    0.8·d + 0.12·dk + (80 if classes)                up to 4 million entries
        float32    5 + 0.5·d + 0.028·dK + (2K if classes)           d at 0.35 for pixels, which take less memory
    sgd        a step of `cost`, and 5 for each row's place in the permutation; 12 000 an epoch
    sweep      a step of `cost` for all candidates' K columns, 15 000 beside, and 3.5·K
    whitening  20 + 4d + 0.04·d²                                    once, where `preconditioning` has it
    learning_rate "auto"    4 + 4d once, and 2 for each of at most 2 million entries
    measuring  a row that is not trained on: 0.15·d + 0.02·dK + 2K

How often L-BFGS iterates depends on the data: over thirty tables and Fashion-MNIST the medians are those of ITERATIONS,
but a table may take a fifth or five times of them. Fitted to `python -m benchmarks.training cost` with one thread on
an AMD EPYC (Zen 5): typical error 20 %, at most a factor of 2, given the iterations.
"""

from dataclasses import dataclass

from app.training import cost
from app.training.cost import Shape, padded
from app.training.hyperparameters import Hyperparameters
from app.training.preconditioning import whitens

PRECISE_ENTRIES = 4_000_000
"""As in `objective`."""
SAMPLED_ENTRIES = 2_000_000
"""As in `learning_rate`."""
START_SECONDS = 2e-4
EVALUATION_NANOSECONDS = 120_000
EPOCH_NANOSECONDS = 12_000
SWEEP_STEP_NANOSECONDS = 15_000
WIDEST_SOLVED = 1000
"""As in `optimum`."""
PIXEL_ITERATIONS = 200
GAP_ITERATIONS = {True: (500, 300), False: (1000, 1000)}
"""Those that find the optimum of large data, in float32, then in float64; by whether there is a penalty."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a training has to go through."""

    shape: Shape
    rows: int
    measured_rows: int
    pixels: bool = False

    @property
    def entries(self) -> int:
        """Numbers of the encoded training rows."""
        return self.rows * self.shape.features

    @property
    def is_precise(self) -> bool:
        """Whether L-BFGS sums in float64."""
        return not self.pixels and self.entries <= PRECISE_ENTRIES


def seconds(options: Hyperparameters, work: Work, device: str = "cpu") -> float:
    """About how long a training takes on one thread of the machine that the model was fitted to, or on its GPU."""
    solver = {"exact": _exact, "lbfgs": _lbfgs, "sgd": _sgd}[options.solver]
    needed = START_SECONDS + (_on_cuda if device == "cuda" else solver)(options, work)
    if options.solver != "exact" and _is_whitened(options, work):
        needed += 1e-9 * work.rows * _whitening(work.shape.features)
    return needed + (_gap(options, work) if options.optimality_gap else 0.0)


def _exact(_: Hyperparameters, work: Work) -> float:
    d, k = work.shape.features, work.shape.outputs
    width = d + k
    return 1e-9 * ((work.rows + work.measured_rows) * 8 * k + work.rows * (12 + 3 * width + 0.014 * width**2)) + (
        1e-10 * d**3
    )


def _lbfgs(options: Hyperparameters, work: Work) -> float:
    evaluation = EVALUATION_NANOSECONDS + work.rows * _evaluation(work) + _measuring(work)
    return 1e-9 * (iterations(options, work) + 2) * evaluation


def iterations(options: Hyperparameters, work: Work) -> int:
    """Of L-BFGS, most likely, at most those that are asked for."""
    if work.pixels:
        likely = PIXEL_ITERATIONS
    elif options.l1 or options.loss == "huber":
        likely = 200
    elif _is_whitened(options, work):
        likely = (4 if options.l2 else 2) if options.model == "linear" else 25
    else:
        likely = 20 if options.model == "linear" else 40
    return min(likely, options.epochs or likely)


def _evaluation(work: Work, precise: bool | None = None) -> float:
    d, k = work.shape.features, work.shape.outputs
    if work.is_precise if precise is None else precise:
        return 3 + 0.8 * d + 0.12 * d * k + (80 if k > 1 else 0)
    columns = padded(k)
    return 5 + (0.35 if work.pixels else 0.5) * d + 0.028 * d * columns + (2 * columns if k > 1 else 0)


def _sgd(options: Hyperparameters, work: Work) -> float:
    candidates = len(options.sweep.candidates(options.seed)) if options.sweep else 1
    shape = Shape(work.shape.features, work.shape.outputs * candidates, work.shape.batch)
    step = min(cost.compiled_step(shape), cost.gemm_step(shape))
    if options.sweep:
        columns = padded(shape.outputs)
        step = cost.gemm_step(shape) + SWEEP_STEP_NANOSECONDS + 3.5 * columns * shape.batch
    steps = -(-work.rows // shape.batch)
    epoch = EPOCH_NANOSECONDS + steps * step + work.rows * 5 + _measuring(work, candidates)
    return 1e-9 * ((options.epochs or 1) * epoch + (_rate(work) if options.is_rate_open else 0.0))


def _on_cuda(options: Hyperparameters, work: Work) -> float:
    steps = (options.epochs or 1) * -(-work.rows // work.shape.batch)
    return 1e-9 * (cost.CUDA_START_NANOSECONDS + steps * cost.CUDA_STEP_NANOSECONDS)


def _measuring(work: Work, candidates: int = 1) -> float:
    d, columns = work.shape.features, padded(work.shape.outputs * candidates)
    return work.measured_rows * (0.15 * d + 0.02 * d * columns + 2 * columns)


def _rate(work: Work) -> float:
    return work.rows * (4 + 4 * work.shape.features) + 2 * min(work.entries, SAMPLED_ENTRIES) * 10


def _is_whitened(options: Hyperparameters, work: Work) -> bool:
    if options.precondition != "auto":
        return options.precondition == "whiten"
    return whitens(options, work.rows, work.shape.features, work.pixels)


def _whitening(features: int) -> float:
    return 20 + 4 * features + 0.04 * features**2


def _gap(options: Hyperparameters, work: Work) -> float:
    """To find the optimum afterwards."""
    quadratic = options.model == "linear" and options.loss in ("squared", "mse") and not options.l1
    if quadratic and work.shape.features <= WIDEST_SOLVED:
        return _exact(options, work)
    searching = options.model_copy(update={"solver": "lbfgs", "epochs": None, "precondition": "auto", "sweep": None})
    if work.is_precise:
        return _lbfgs(searching, work)
    coarse, fine = GAP_ITERATIONS[bool(options.l1 or options.l2)]
    return 1e-9 * work.rows * (coarse * _evaluation(work) + fine * _evaluation(work, precise=True))
