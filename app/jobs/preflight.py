"""Pre-flight: what a job would do and cost, found out without training it."""

from dataclasses import dataclass
from typing import Any

from app.datasets.catalogue import Catalogue
from app.datasets.encoding import Encoding
from app.jobs.order import Order
from app.jobs.spec import Spec
from app.jobs.training_data import TrainingData
from app.training import cost
from app.training.estimate import Work, seconds
from app.training.preconditioning import conditioned

COEFFICIENT_BYTES = 4


@dataclass(frozen=True)
class Preflight:
    """The effective spec, the size of what would be trained, and what it would take."""

    spec: dict[str, Any]
    rows: int
    validation_rows: int
    features: int
    outputs: int
    memory_bytes: int
    device: str
    estimated_seconds: float


def preflight(order: Order, catalogue: Catalogue, devices: set[str]) -> Preflight:
    """Look at the data of an order as its worker would."""
    spec = Spec.model_validate(order.spec)
    dataset = catalogue.files(order.dataset_id or spec.dataset)
    other = catalogue.files(order.validation_dataset_id) if order.validation_dataset_id else None
    data = TrainingData.of(spec, dataset, other)
    encoding, rows = data.encoding, len(data.training)
    validation = 0 if data.validation is None else len(data.validation)
    work = Work(
        shape=cost.Shape(len(encoding.names), encoding.target.outputs, min(spec.batch_size or rows, rows)),
        rows=rows,
        measured_rows=validation + (rows if spec.train_metrics == "full" else 0),
        pixels=encoding.are_pixels,
    )
    spec = conditioned(spec, rows, work.shape.features, work.pixels)
    device = _device(spec, work, devices)
    return Preflight(
        spec=spec.model_dump(mode="json"),
        rows=rows,
        validation_rows=validation,
        features=work.shape.features,
        outputs=work.shape.outputs,
        memory_bytes=_memory(encoding, rows + validation, spec),
        device=device,
        estimated_seconds=seconds(spec, work, device),
    )


def _memory(encoding: Encoding, rows: int, spec: Spec) -> int:
    """Bytes of the encoded rows; preconditioning keeps a second, decorrelated copy."""
    width = 1 if encoding.are_pixels else COEFFICIENT_BYTES
    copies = 2 if spec.precondition != "none" and spec.standardize and spec.solver != "exact" else 1
    targets = COEFFICIENT_BYTES * (len(encoding.target.columns))
    return rows * (len(encoding.names) * width * copies + targets)


def _device(spec: Spec, work: Work, devices: set[str]) -> str:
    """The device that a worker would choose."""
    if spec.device != "auto":
        return spec.device
    return "cuda" if "cuda" in devices and cost.is_worth_a_gpu(spec, work.shape, work.rows) else "cpu"
