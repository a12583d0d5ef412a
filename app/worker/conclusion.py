"""What is found out once about a model that is trained: its statistics, and how near the optimum it is."""

from typing import Any

from app.models.inference import Inference
from app.models.statistics import Statistics
from app.training.hyperparameters import Hyperparameters
from app.training.inference import Refused, check_residuals, infer
from app.training.optimality import optimality
from app.training.optimum import Objectives
from app.training.problem import Parameters, Rows
from app.worker.preparation import Prepared
from app.worker.progress import Progress

BY_STEPS = "the model was trained by steps, which end near the optimum but not at it; use the solver exact or lbfgs"


def inference(
    spec: Hyperparameters, prepared: Prepared, parameters: Parameters, remembered: Statistics
) -> tuple[Inference, Parameters]:
    """The statistics, and the parameters that they mean (softmax: shifted so that the first class has weights 0)."""
    if spec.solver == "sgd":
        return _by_steps(remembered, prepared.problem.train), parameters
    encoding = prepared.encoding
    try:
        found = infer(prepared.problem, parameters, spec, encoding.scale, encoding.centre)
    except Refused as refused:
        return Inference(None, reason=str(refused)), parameters
    reference = encoding.target.classes[0] if encoding.target.classes else None
    return Inference(found.errors, found.degrees, reference), found.parameters


def _by_steps(remembered: Statistics, rows: Rows) -> Inference:
    """Steps may end at least squares as far as the data can tell; then its standard errors hold."""
    found = remembered.uncertainty
    try:
        if found is not None:
            check_residuals(found.residual_variance, rows)
    except Refused as refused:
        return Inference(None, reason=str(refused))
    if found is None or not found.is_at_optimum:
        return Inference(None, reason=BY_STEPS)
    return Inference(found.standard_errors, int(found.degrees_of_freedom[0]))


def nearness(
    spec: Hyperparameters,
    prepared: Prepared,
    parameters: Parameters,
    found: Objectives | None,
    progress: Progress | None,
) -> dict[str, Any]:
    """The job's `optimality`."""
    converged = progress.converged if progress is not None else None
    return {**optimality(prepared.problem, parameters, spec, found), "converged": converged}
