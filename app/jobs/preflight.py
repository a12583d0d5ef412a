"""Pre-flight: what a job would do and cost, found out without training it."""

from dataclasses import dataclass
from typing import Any

from app.datasets.catalogue import Catalogue
from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import ArrayFeature
from app.datasets.splitting import split
from app.datasets.target_encoding import TargetEncoding
from app.jobs.order import Order
from app.jobs.spec import Spec
from app.training import cost
from app.training.estimate import Work, seconds

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
    target = TargetEncoding.fit(dataset, spec.target, spec.model)
    parts = split(dataset, spec.validation, spec.seed, other)
    training, _ = target.labelled(parts.train)
    encoding = Encoding.fit(training, spec.features, target, standardize=False)
    validation = 0 if parts.validation is None else len(target.labelled(parts.validation)[0])
    work = Work(
        shape=cost.Shape(len(encoding.names), target.outputs, min(spec.batch_size or len(training), len(training))),
        rows=len(training),
        measured_rows=validation + (len(training) if spec.train_metrics == "full" else 0),
        pixels=_is_pixels(encoding, spec),
    )
    device = _device(spec, work, devices)
    return Preflight(
        spec=order.spec,
        rows=work.rows,
        validation_rows=validation,
        features=work.shape.features,
        outputs=work.shape.outputs,
        memory_bytes=_memory(encoding, work.rows + validation, spec),
        device=device,
        estimated_seconds=seconds(spec, work, device),
    )


def _memory(encoding: Encoding, rows: int, spec: Spec) -> int:
    """Bytes of the encoded rows; preconditioning keeps a second, decorrelated copy."""
    width = 1 if _is_pixels(encoding, spec) else COEFFICIENT_BYTES
    copies = 2 if spec.precondition != "none" and spec.standardize and spec.solver != "exact" else 1
    targets = COEFFICIENT_BYTES * (len(encoding.target.columns))
    return rows * (len(encoding.names) * width * copies + targets)


def _is_pixels(encoding: Encoding, spec: Spec) -> bool:
    pixels = all(isinstance(feature, ArrayFeature) and feature.pixels for feature in encoding.features)
    return pixels and not spec.standardize


def _device(spec: Spec, work: Work, devices: set[str]) -> str:
    """The device that a worker would choose."""
    if spec.device != "auto" or spec.sweep is not None or spec.solver != "sgd":
        return "cuda" if spec.device == "cuda" else "cpu"
    steps = (spec.epochs or 1) * -(-work.rows // work.shape.batch)
    return "cuda" if "cuda" in devices and cost.cuda_is_faster(work.shape, steps) else "cpu"
