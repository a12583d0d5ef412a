"""What is found out once about a model that is trained: its statistics, and how near the optimum it is."""

from typing import Any

from app.models.coefficient_errors import CoefficientErrors
from app.training.hyperparameters import Hyperparameters
from app.training.inference import Inference
from app.training.optimality import optimality
from app.training.optimum import Objectives
from app.training.problem import Parameters
from app.worker.preparation import Prepared
from app.worker.progress import Progress


def coefficient_errors(found: Inference, prepared: Prepared) -> CoefficientErrors:
    """What the model keeps of how sure its coefficients are."""
    classes = prepared.encoding.target.classes
    reference = classes[0] if classes and found.errors is not None else None
    return CoefficientErrors(found.errors, found.degrees, reference, found.reason)


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
