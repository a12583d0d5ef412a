"""What is found out once about a model that is trained: its statistics, and how near the optimum it is."""

from typing import Any

from app.models.statistics import Statistics
from app.training.hyperparameters import Hyperparameters
from app.training.inference import Refused, infer
from app.training.optimality import optimality
from app.training.problem import Parameters
from app.worker.preparation import Prepared

BY_STEPS = "the model was trained by steps, which end near the optimum but not at it; use the solver exact or lbfgs"


def statistics(spec: Hyperparameters, prepared: Prepared, parameters: Parameters) -> tuple[Statistics, Parameters]:
    """The statistics, and the parameters that they mean (softmax: shifted so that the first class has weights 0)."""
    if spec.solver == "sgd":
        return Statistics(None, reason=BY_STEPS), parameters
    encoding = prepared.encoding
    try:
        found = infer(prepared.problem, parameters, spec, encoding.scale, encoding.centre)
    except Refused as refused:
        return Statistics(None, reason=str(refused)), parameters
    reference = encoding.target.classes[0] if encoding.target.classes else None
    return Statistics(found.errors, found.degrees, reference), found.parameters


def nearness(spec: Hyperparameters, prepared: Prepared, parameters: Parameters) -> dict[str, Any]:
    """The job's `optimality`."""
    return optimality(prepared.problem, parameters, spec)
