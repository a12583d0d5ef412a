"""How long a training is likely to take, before it has begun. Nanoseconds a row, unless said otherwise.

    exact      26 + 6.5w + 0.03·w² + 17k, and 0.2·d³ once           w = d + k
    lbfgs      an evaluation of loss and gradient, times the iterations, two more for the start; each 250 000 beside
        float64    5 + 1.3·d + 0.19·dk + (130 if classes)           up to 4 million entries
        float32    5 + 0.4·d + 0.046·dk + (3k if classes)           d at 0.15 for pixels, which take less memory
    sgd        a step of `cost`, and 5 for each row's place in the permutation; 90 000 an epoch of each candidate
    sweep      a tiled step of `cost` for all candidates' outputs together, and 20 for each candidate if classes
    whitening  44 + 9d + 0.09·d²                                    once, where `preconditioning` has it
    learning_rate "auto"    9 + 9d once, and 40 for each of at most 2 million entries: ten iterations of 4
    measuring  a row that is not trained on: 10 + 0.1·d + 0.023·dk + 2.5k

How often L-BFGS iterates depends on the data: over thirty tables and Fashion-MNIST the medians are those of
`iterations`, but a table may take a fifth or five times of them. Fitted to `python -m benchmarks.training cost` with
one thread on an AMD EPYC (Zen 3), where a first run takes up to twice as long as a later one.
"""

from dataclasses import dataclass

from app.training import cost
from app.training.cost import Shape
from app.training.hyperparameters import Hyperparameters
from app.training.preconditioning import whitens

PRECISE_ENTRIES = 4_000_000
"""As in `objective`."""
SAMPLED_ENTRIES = 2_000_000
"""As in `learning_rate`."""
START_SECONDS = 1e-3
EVALUATION_NANOSECONDS = 250_000
EPOCH_NANOSECONDS = 90_000
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
    return 1e-9 * ((work.rows + work.measured_rows) * 17 * k + work.rows * (26 + 6.5 * width + 0.03 * width**2)) + (
        2e-10 * d**3
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
        return 5 + 1.3 * d + 0.19 * d * k + (130 if k > 1 else 0)
    return 5 + (0.15 if work.pixels else 0.4) * d + 0.046 * d * k + (3 * k if k > 1 else 0)


def _sgd(options: Hyperparameters, work: Work) -> float:
    candidates = len(options.sweep.candidates(options.seed)) if options.sweep else 1
    shape = Shape(work.shape.features, work.shape.outputs * candidates, work.shape.batch)
    step = cost.tiled_step(shape) if options.sweep else min(cost.compiled_step(shape), cost.tiled_step(shape))
    steps = -(-work.rows // shape.batch)
    slopes = 20 * candidates if options.sweep and work.shape.outputs > 1 else 0
    epoch = EPOCH_NANOSECONDS * candidates + steps * step + work.rows * (5 + slopes) + _measuring(work, candidates)
    return 1e-9 * ((options.epochs or 1) * epoch + (_rate(work) if options.is_rate_open else 0.0))


def _on_cuda(options: Hyperparameters, work: Work) -> float:
    steps = (options.epochs or 1) * -(-work.rows // work.shape.batch)
    rate = _rate(work) if options.is_rate_open else 0.0  # found on the CPU
    return 1e-9 * (cost.CUDA_START_NANOSECONDS + steps * cost.cuda_step(work.shape) + rate)


def _measuring(work: Work, candidates: int = 1) -> float:
    d, outputs = work.shape.features, work.shape.outputs * candidates
    return work.measured_rows * (10 + 0.1 * d + 0.023 * d * outputs + 2.5 * outputs)


def _rate(work: Work) -> float:
    return work.rows * (9 + 9 * work.shape.features) + 40 * min(work.entries, SAMPLED_ENTRIES)


def _is_whitened(options: Hyperparameters, work: Work) -> bool:
    if options.precondition != "auto":
        return options.precondition == "whiten"
    return whitens(options, work.rows, work.shape.features, work.pixels)


def _whitening(features: int) -> float:
    return 44 + 9 * features + 0.09 * features**2


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
