"""Submission: a spec is checked against its data, and every default it leaves open is settled."""

from typing import Any

from app.datasets.catalogue import Catalogue
from app.datasets.dataset import Dataset
from app.datasets.encoding import check_options, chosen_features, standardize_by_default
from app.datasets.target_encoding import TargetEncoding
from app.errors import Fault, InvalidSpec
from app.jobs.order import Order
from app.jobs.spec import Spec
from app.models.registry import Registry
from app.training.initialisation import Init, ModelInit

ACCELERATORS = ("cuda",)


def order(spec: Spec, catalogue: Catalogue, devices: set[str], registry: Registry) -> Order:
    """The job that a spec asks for, if its data allows it: what can be known to fail is refused here, not queued."""
    dataset_id = catalogue.get(spec.dataset).id
    dataset = catalogue.files(dataset_id)
    if spec.device in ACCELERATORS and spec.device not in devices:
        raise InvalidSpec(Fault("device", f"no worker has {spec.device}; use auto or cpu"))
    target = TargetEncoding.fit(dataset, spec.target, spec.model)
    features = chosen_features(dataset, spec.features, target.columns)
    check_options(dataset, features, spec.max_categories, spec.missing_indicator)
    validation = _validation(spec, dataset)
    other = _other_dataset(validation, catalogue)
    _check_classes(spec, target)
    _check_early_stopping(spec, validation)
    if other is not None:
        _check_columns(catalogue.files(other), dataset, [*features, *target.columns])
    settled = spec.effective(_training_rows(dataset, validation)).model_copy(
        update={
            "dataset": dataset_id,
            "target": list(target.columns) if len(target.columns) > 1 else target.columns[0],
            "features": features,
            "validation": {"dataset": other} if other else validation,
            "standardize": _standardize(spec, dataset),
            "init": _init(spec, registry, features),
        }
    )
    return Order(
        spec=settled.model_dump(mode="json"),
        model=spec.model,
        dataset_id=dataset_id,
        validation_dataset_id=other,
        epochs=settled.epochs or 1,
        requested_device=spec.device,
        rank=-spec.priority,
    )


def _check_classes(spec: Spec, target: TargetEncoding) -> None:
    if not isinstance(spec.class_weights, dict):
        return
    for name in spec.class_weights:
        if name not in (target.classes or ()):
            known = ", ".join((target.classes or ())[:20])
            raise InvalidSpec(Fault(f"class_weights.{name}", f"there is no such class; the classes are {known}"))


def _check_early_stopping(spec: Spec, validation: dict[str, Any] | None) -> None:
    metric = spec.early_stopping.metric if spec.early_stopping else None
    if metric is not None and metric.startswith("validation") and validation is None:
        raise InvalidSpec(Fault("early_stopping.metric", f"{metric} needs validation rows; add validation"))


def _init(spec: Spec, registry: Registry, features: list[str]) -> Init:
    """Where to start; a model that is named now is meant, whatever its name means when the job runs."""
    if not isinstance(spec.init, ModelInit):
        return spec.init
    model = registry.get(spec.init.model)
    if model.kind != spec.model:
        raise InvalidSpec(Fault("init.model", f"it is a {model.kind} model, and the job trains a {spec.model} one"))
    theirs = [feature["name"] for feature in model.features]
    if set(theirs) != set(features):
        raise InvalidSpec(Fault("init.model", f"it has other features: {', '.join(theirs[:20])}"))
    return spec.init.model_copy(update={"model": model.id})


def _training_rows(dataset: Dataset, validation: dict[str, Any] | None) -> int:
    rows = dataset.description.splits["train"]
    held_out = float((validation or {}).get("fraction", 0.0))
    return max(1, round(rows * (1 - held_out)))


def _validation(spec: Spec, dataset: Dataset) -> dict[str, Any] | None:
    has_test = dataset.description.splits["test"] > 0
    if "validation" not in spec.model_fields_set:
        return {"split": "test"} if has_test else None
    if spec.validation is not None and "split" in spec.validation and not has_test:
        message = 'the dataset has no test split; use {"fraction": 0.2}, another dataset, or null'
        raise InvalidSpec(Fault("validation.split", message))
    if spec.validation is not None and "fraction" in spec.validation and dataset.description.splits["train"] < 2:
        raise InvalidSpec(Fault("validation.fraction", "one row cannot be split; use null"))
    return spec.validation


def _other_dataset(validation: dict[str, Any] | None, catalogue: Catalogue) -> str | None:
    if validation is None or "dataset" not in validation:
        return None
    return catalogue.get(validation["dataset"]).id


def _check_columns(other: Dataset, dataset: Dataset, columns: list[str]) -> None:
    """What validates must have the columns that train, of the same kinds."""
    faults = [
        Fault(
            "validation.dataset", f"its column {name!r} is {other.kinds.get(name, 'absent')}, not {dataset.kinds[name]}"
        )
        for name in columns
        if other.kinds.get(name) is not dataset.kinds[name]
    ]
    if faults:
        raise InvalidSpec(faults)


def _standardize(spec: Spec, dataset: Dataset) -> bool:
    return spec.standardize if spec.standardize is not None else standardize_by_default(dataset)
