"""Which options go together: what each model, loss and solver knows.

An option that does not apply to the chosen model or solver is refused unless it has its default value, so that what
`Hyperparameters.effective` returned can be read in again.
"""

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.training.hyperparameters import Hyperparameters

LOSSES = MappingProxyType({"linear": ("squared", "mse", "absolute", "huber"), "softmax": ("cross_entropy",)})
"""The losses of each model, its default first."""

ITERATIVE_OPTIONS = ("epochs", "init", "precondition", "early_stopping")
STEP_OPTIONS = ("batch_size", "learning_rate", "momentum", "nesterov", "lr_schedule", "l1", "gradient_reduction")

OPTIONS = MappingProxyType(
    {
        "sgd": frozenset((*ITERATIVE_OPTIONS, *STEP_OPTIONS, "train_metrics", "sweep")),
        "lbfgs": frozenset((*ITERATIVE_OPTIONS, "l1")),
        "exact": frozenset[str](),
    }
)
"""The options that some solver lacks, by the solver that has them."""

SOLVER_LOSSES = MappingProxyType(
    {
        "sgd": frozenset(("squared", "mse", "absolute", "huber", "cross_entropy")),
        "lbfgs": frozenset(("squared", "mse", "huber", "cross_entropy")),
        "exact": frozenset(("squared", "mse")),
    }
)
"""The losses that a solver can minimise: `lbfgs` needs a smooth one, `exact` a quadratic one."""

SOLVER_OPTIONS = frozenset().union(*OPTIONS.values())


class Inapplicable(ValueError):
    """An option that does not go with the others: its name, and a message that says what does."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def check(options: "Hyperparameters") -> None:
    """Refuse what does not go together.

    Raises:  Inapplicable
    """
    _check_loss(options)
    if options.solver != "sgd" and options.device == "cuda":
        raise Inapplicable("device", f"the solver {options.solver} runs on the cpu: use device cpu or auto")
    if options.tf32 and (options.device == "cpu" or options.solver != "sgd" or options.sweep is not None):
        raise Inapplicable(
            "tf32", "tf32 does not apply to what runs on the cpu: use the solver sgd, and device auto or cuda"
        )
    if options.class_weights is not None and options.model != "softmax":
        raise Inapplicable("class_weights", "class_weights do not apply to linear")
    if options.precondition == "whiten" and options.l1:
        raise Inapplicable(
            "precondition", "precondition whiten does not apply with l1, which acts on the features' own weights"
        )
    _check_early_stopping(options)
    _check_sweep(options)
    _check_optimality_gap(options)
    if options.nesterov and not options.momentum and not (options.sweep and options.sweep.momentum):
        raise Inapplicable("nesterov", "nesterov needs a momentum above 0")
    for name in sorted(SOLVER_OPTIONS - OPTIONS[options.solver]):
        if name in options.model_fields_set and getattr(options, name) != type(options).model_fields[name].default:
            raise Inapplicable(name, f"{name} does not apply to the solver {options.solver}")


def _check_loss(options: "Hyperparameters") -> None:
    loss, suited = options.loss, LOSSES[options.model]
    if loss is not None and loss not in suited:
        raise Inapplicable("loss", f"loss {loss} does not apply to {options.model}: use {' or '.join(suited)}")
    if options.solver == "exact" and options.model != "linear":
        raise Inapplicable("solver", "the solver exact does not apply to softmax: use sgd or lbfgs")
    if loss is not None and loss not in SOLVER_LOSSES[options.solver]:
        able = " or ".join(solver for solver, losses in SOLVER_LOSSES.items() if loss in losses)
        raise Inapplicable("solver", f"the solver {options.solver} does not apply to the loss {loss}: use {able}")


def _check_early_stopping(options: "Hyperparameters") -> None:
    metric = options.early_stopping.metric if options.early_stopping else None
    if metric is not None and metric.endswith("accuracy") and options.model == "linear":
        raise Inapplicable("early_stopping", f"early_stopping: {metric} does not apply to linear")


def _check_sweep(options: "Hyperparameters") -> None:
    if options.sweep is None:
        return
    beside = {
        "learning_rate": options.learning_rate != "auto",
        "momentum": options.momentum is not None,
        "l2": options.l2 != 0,
    }
    for name, is_given in beside.items():
        if is_given and getattr(options.sweep, name) is not None:
            raise Inapplicable(name, f"{name} is given twice: in the sweep and beside it")
    if options.early_stopping is not None:
        raise Inapplicable(
            "early_stopping", "early_stopping does not apply to a sweep, whose candidates share their epochs"
        )
    if options.device == "cuda":
        raise Inapplicable("device", "a sweep is trained on the cpu: use device cpu or auto")


def _check_optimality_gap(options: "Hyperparameters") -> None:
    if not options.optimality_gap:
        return
    if options.loss == "absolute":
        raise Inapplicable(
            "optimality_gap", "optimality_gap does not apply to the loss absolute, whose optimum no solver here finds"
        )
    is_penalised = options.l1 or options.l2 or (options.sweep and options.sweep.l2)
    if options.gradient_reduction == "sum" and is_penalised:
        raise Inapplicable(
            "optimality_gap",
            "optimality_gap does not apply to summed gradients with a penalty, which then has no objective of its own",
        )
