"""Whether `precondition: "auto"` whitens: known from the options and the size of the data alone."""

from app.training.hyperparameters import Hyperparameters

WIDEST, MOST_PRODUCTS = 512, 2e10
"""Features d up to which it does, and n·d², the cost of their Gram matrix: about a second."""


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
