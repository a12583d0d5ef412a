"""Importing: a model from a file that was exported as safetensors or JSON. Nothing in the file is believed unchecked.

The shapes must agree with the encoding, every number must be finite, names must be names; what the file says about
itself beyond that (metrics, whether the training was cut short) is kept as it is.
"""

import json
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from safetensors import SafetensorError
from safetensors.numpy import load

from app.datasets.encoding import Encoding
from app.errors import Fault, InvalidModel
from app.identifiers import new_id
from app.models.coefficient_errors import ERRORS, UNTESTED, CoefficientErrors
from app.models.exports.description import FORMAT
from app.models.features import describe
from app.models.model_file import LARGEST, MOST_COLUMNS, Description
from app.models.registry import Registry, key
from app.models.statistics import Statistics, shapes
from app.models.weights import Matrix, Weights
from app.storage import Storage
from app.tables import ModelRow

_MAY_BE_UNTOLD = ("standard_errors", ERRORS)
"""Where not a number means that the data cannot tell."""
_NOT_NEGATIVE = (*_MAY_BE_UNTOLD, "residual_variance", "distance")


@dataclass(frozen=True)
class Imported:
    """What a file holds, checked."""

    description: Description
    encoding: Encoding
    weights: Weights
    statistics: Statistics | None
    coefficient_errors: CoefficientErrors


def read(content: bytes) -> Imported:
    """The model in a file, checked."""
    content = content.removeprefix(BOM_UTF8)
    about, tensors = _from_json(content) if content.lstrip()[:1] == b"{" else _from_safetensors(content)
    try:
        description = Description.model_validate(about)
    except ValidationError as error:
        faults = [Fault(".".join(map(str, e["loc"])) or "file", _message(e)) for e in error.errors(include_url=False)]
        raise InvalidModel(faults[:10]) from error
    width = description.encoding.width
    if width > MOST_COLUMNS:
        raise InvalidModel(Fault("encoding.features", f"they make {width} design columns; {MOST_COLUMNS} are the most"))
    encoding = Encoding.from_json(description.encoding.model_dump())
    checked = _checked(tensors, width, encoding.target.outputs)
    _check_standardisation(encoding, width)
    weights = Weights(checked["weights"], checked["bias"])
    return Imported(description, encoding, weights, Statistics.of(checked), _errors(description, checked))


def _message(error: ErrorDetails) -> str:
    """What pydantic says, without its words for a check of our own."""
    return "this field is required" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")


def add(content: bytes, name: str | None, registry: Registry, storage: Storage, shared: bool | None) -> ModelRow:
    """Keep the model in a file as a new model, the next version of `name`."""
    found = read(content)
    about, target = found.description, found.encoding.target
    model_id = new_id()
    with storage.stage() as stage:
        found.weights.save(stage.path, found.encoding, found.statistics)
        found.coefficient_errors.save(stage.path)
        stage.publish(key(model_id))
        return registry.create(
            model_id, name, kind=about.kind, job_id=None, dataset_id=None, features=describe(found.encoding),
            target=list(target.columns), classes=list(target.classes) if target.classes else None,
            metrics=_plain(about.metrics), partial=about.partial, shared=shared,
        )  # fmt: skip


def _errors(description: Description, tensors: Mapping[str, Matrix]) -> CoefficientErrors:
    """Errors without what they rest on say nothing, and a file of an earlier version has neither."""
    about = description.inference
    if about is None:
        return UNTESTED
    errors = tensors.get(ERRORS)
    if errors is None and about.reason is None:
        return UNTESTED
    return CoefficientErrors(errors, about.degrees, about.reference, about.reason if errors is None else None)


def _from_json(content: bytes) -> tuple[Any, dict[str, Matrix]]:
    try:
        about = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidModel(Fault("file", f"this is no JSON: {error}")) from error
    given = {"weights": about.pop("weights", None), "bias": about.pop("bias", None)}
    statistics = about.pop("statistics", None)
    given |= statistics if isinstance(statistics, dict) else {}
    return about, {name: _tensor(name, values) for name, values in given.items()}


def _tensor(name: str, values: Any) -> Matrix:
    message = "this is no list of numbers of one shape"
    try:
        found = np.asarray(values, np.float64)
    except (ValueError, TypeError) as error:
        raise InvalidModel(Fault(name, message)) from error
    # NumPy reads numbers out of texts and booleans too. null is not a number: an error that the data cannot tell.
    if not set(map(type, np.asarray(values, object).ravel())) <= {int, float, type(None)}:
        raise InvalidModel(Fault(name, message))
    return found


def _from_safetensors(content: bytes) -> tuple[Any, dict[str, Matrix]]:
    try:
        tensors = load(content)
        metadata = _metadata(content)
        about = json.loads(metadata.get("description", "null"))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidModel(Fault("file", "it is neither JSON nor a whole safetensors file of a model")) from error
    if metadata.get("format") != FORMAT:
        raise InvalidModel(Fault("file", "it was not exported by this service: its metadata say nothing of a model"))
    return about, {name: tensor.astype(np.float64) for name, tensor in tensors.items() if tensor.dtype.kind == "f"}


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return found


def _checked(tensors: Mapping[str, Matrix], width: int, outputs: int) -> dict[str, Matrix]:
    expected = {"weights": (width, outputs), "bias": (outputs,)}
    known = expected | shapes(width, outputs, _undetermined(tensors, width)) | {ERRORS: (width + 1, outputs)}
    given = {name: tensor for name, tensor in tensors.items() if name in known}
    faults = [Fault(name, "the file has no such tensor") for name in expected if name not in given]
    for name, tensor in given.items():
        if tensor.shape != known[name]:
            message = f"its shape is {list(tensor.shape)}; the encoding makes it {list(known[name])}"
            faults.append(Fault(name, message))
        elif not np.isfinite(tensor[~np.isnan(tensor)] if name in _MAY_BE_UNTOLD else tensor).all():
            faults.append(Fault(name, "it holds a number that is not finite"))
        elif (np.abs(tensor) > LARGEST).any():
            faults.append(Fault(name, f"it holds a number beyond ±{LARGEST:g}"))
        elif (name in _NOT_NEGATIVE and (tensor < 0).any()) or (
            name in ("rows", "degrees_of_freedom") and tensor[0] < 1
        ):
            faults.append(Fault(name, "it holds a number that is too small to be one"))
    if faults:
        raise InvalidModel(faults)
    return {name: np.ascontiguousarray(tensor) for name, tensor in given.items()}


def _undetermined(tensors: Mapping[str, Matrix], width: int) -> int:
    """How many directions the null space has, where that is a number that it can have."""
    shape = tensors["null_space"].shape if "null_space" in tensors else ()
    return min(max(shape[1], 1), width) if len(shape) == 2 else 1


def _check_standardisation(encoding: Encoding, width: int) -> None:
    for name, values in (("mean", encoding.mean), ("std", encoding.std)):
        if values is not None and len(values) != width:
            raise InvalidModel(Fault(f"encoding.{name}", f"it has {len(values)} numbers for {width} design columns"))
    if (encoding.mean is None) != (encoding.std is None) or any(value <= 0 for value in encoding.std or ()):
        raise InvalidModel(Fault("encoding.std", "mean and std come together, and std is above zero"))


def _plain(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics as this service writes them, numbers by split; anything else in their place is dropped."""
    return {
        split: {
            name: value for name, value in found.items() if isinstance(value, int | float) and abs(value) <= LARGEST
        }
        for split, found in metrics.items()
        if isinstance(found, dict)
    }
