"""Precondition and momentum, where they are left open: known from the options and the size of the data alone."""

from typing import TypeVar

from app.training.hyperparameters import Hyperparameters

AUTO_MOMENTUM = 0.9
Options = TypeVar("Options", bound=Hyperparameters)
WIDEST, MOST_PRODUCTS = 512, 2e10
"""Features d up to which it does, and n·d², the cost of their Gram matrix: about a second."""


def conditioned(options: Options, rows: int, features: int, pixels: bool) -> Options:
    """The options with both settled, for n training rows of d features.

    Where the rate is open, plain steps have momentum. `exact` has neither, and a sweep of momenta keeps its own.
    """
    update: dict[str, object] = {}
    if options.precondition == "auto" and options.solver != "exact":
        update["precondition"] = "whiten" if whitens(options, rows, features, pixels) else "none"
    is_swept = options.sweep is not None and options.sweep.momentum is not None
    if options.solver == "sgd" and options.momentum is None and not is_swept:
        accelerated = options.is_rate_open and update.get("precondition") == "none"
        update["momentum"] = AUTO_MOMENTUM if accelerated else 0.0
    return options.model_copy(update=update)


def whitens(options: Hyperparameters, rows: int, features: int, pixels: bool) -> bool:
    """Tables, where it leads to the optimum faster: where there is one, and the rate is not given.

    A softmax model without a penalty has none where the classes can be separated, and the directions of little
    variance, which plain steps learn last, are those that generalise least.
    """
    if options.sweep is not None and options.sweep.l2 is not None:
        return False  # a frame suits one penalty
    if options.solver == "lbfgs" and options.model == "softmax" and options.l2:
        return False  # it finds the curvatures by itself, in half the iterations
    settled = options.solver != "sgd" or options.is_rate_open
    has_optimum = options.model == "linear" or options.l2 > 0 or options.solver != "sgd"
    narrow = features <= WIDEST and rows * features**2 <= MOST_PRODUCTS
    table = bool(options.standardize) and not pixels and narrow
    return table and settled and has_optimum and options.l1 == 0
