"""Importing: a model from a file that was exported as safetensors or JSON. Nothing in the file is believed unchecked.

The shapes must agree with the encoding, every number must be finite, names must be names; what the file says about
itself beyond that (metrics, whether the training was cut short) is kept as it is.
"""

import json
from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, Literal, Self

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load

from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import MOST_LEVELS
from app.datasets.target_encoding import MOST_CLASSES
from app.errors import Fault, InvalidModel
from app.identifiers import new_id
from app.models.exports.description import FORMAT, VERSION
from app.models.features import describe
from app.models.registry import Registry, key
from app.models.statistics import Statistics, shapes
from app.models.weights import Matrix, Weights
from app.storage import Storage
from app.tables import ModelRow

MOST_COLUMNS = 1_000_000
Name = Annotated[str, Field(min_length=1, max_length=1000)]
Numbers = Annotated[list[FiniteFloat], Field(max_length=MOST_COLUMNS)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Numeric(_Strict):
    kind: Literal["numeric"]
    name: Name
    mean: FiniteFloat
    boolean: bool = False
    indicator: bool = False


class _Categorical(_Strict):
    kind: Literal["categorical"]
    name: Name
    levels: Annotated[list[str], Field(min_length=1, max_length=MOST_LEVELS)]
    frequencies: list[FiniteFloat]
    unknown_trained: bool
    other: bool = False

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(self.levels) + self.other != len(self.frequencies) or len(set(self.levels)) < len(self.levels):
            raise ValueError("levels and frequencies must be equally many, and no level stands twice")
        return self


class _Array(_Strict):
    kind: Literal["array"]
    name: Name
    shape: Annotated[list[Annotated[int, Field(ge=1, le=MOST_COLUMNS)]], Field(min_length=1, max_length=8)]
    pixels: bool


class _Target(_Strict):
    columns: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    classes: Annotated[list[str], Field(min_length=2, max_length=MOST_CLASSES)] | None


class _Encoding(_Strict):
    features: Annotated[
        list[Annotated[_Numeric | _Categorical | _Array, Field(discriminator="kind")]], Field(min_length=1)
    ]
    target: _Target
    mean: Numbers | None
    std: Numbers | None


class _Description(BaseModel):
    """What a file says of its model. Fields of later versions of the format are not known here and not kept."""

    model_config = ConfigDict(extra="ignore", strict=True)

    format: Literal["onelayer-model"]
    format_version: Annotated[int, Field(ge=1, le=VERSION)]
    kind: Literal["linear", "softmax"]
    metrics: dict[str, Any] = Field(default_factory=dict)
    partial: bool = False
    encoding: _Encoding

    @model_validator(mode="after")
    def _agree(self) -> Self:
        names = [feature.name for feature in self.encoding.features]
        if len(set(names)) < len(names) or set(names) & set(self.encoding.target.columns):
            raise ValueError("a column stands twice among features and target")
        if (self.encoding.target.classes is None) != (self.kind == "linear"):
            raise ValueError("a softmax model has classes, a linear model has none")
        if self.kind == "softmax" and len(self.encoding.target.columns) != 1:
            raise ValueError("a softmax model has one target")
        classes = self.encoding.target.classes or []
        if len(set(classes)) < len(classes):
            raise ValueError("a class stands twice")
        return self


def read(content: bytes) -> tuple[_Description, Encoding, Weights, Statistics | None]:
    """The model in a file, checked."""
    about, tensors = _from_json(content) if content.lstrip()[:1] == b"{" else _from_safetensors(content)
    try:
        description = _Description.model_validate(about)
    except ValidationError as error:
        faults = [Fault(".".join(map(str, e["loc"])) or "file", e["msg"]) for e in error.errors(include_url=False)]
        raise InvalidModel(faults[:10]) from error
    width = _width(description.encoding)
    encoding = Encoding.from_json(description.encoding.model_dump())
    checked = _checked(tensors, width, encoding.target.outputs)
    _check_standardisation(encoding, width)
    return description, encoding, Weights(checked["weights"], checked["bias"]), Statistics.of(checked)


def add(content: bytes, name: str | None, registry: Registry, storage: Storage, shared: bool | None) -> ModelRow:
    """Keep the model in a file as a new model, the next version of `name`."""
    about, encoding, weights, statistics = read(content)
    model_id = new_id()
    target = encoding.target
    with storage.stage() as stage:
        weights.save(stage.path, encoding, statistics)
        stage.publish(key(model_id))
        return registry.create(
            model_id, name, kind=about.kind, job_id=None, dataset_id=None, features=describe(encoding),
            target=list(target.columns), classes=list(target.classes) if target.classes else None,
            metrics=_plain(about.metrics), partial=about.partial, shared=shared,
        )  # fmt: skip


def _width(encoding: _Encoding) -> int:
    total = sum(_columns(feature) for feature in encoding.features)
    if total > MOST_COLUMNS:
        raise InvalidModel(Fault("encoding.features", f"they make {total} design columns; {MOST_COLUMNS} are the most"))
    return total


def _columns(feature: _Numeric | _Categorical | _Array) -> int:
    if isinstance(feature, _Categorical):
        return len(feature.frequencies) + 1
    return prod(feature.shape) if isinstance(feature, _Array) else 1 + feature.indicator


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
    try:
        # null is not a number: a standard error that the data cannot tell.
        return np.asarray(values, np.float64)
    except (ValueError, TypeError) as error:
        raise InvalidModel(Fault(name, "this is no list of numbers of one shape")) from error


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
    known = expected | shapes(width, outputs)
    faults = [Fault(name, "the file has no such tensor") for name in expected if name not in tensors]
    faults += [
        Fault(name, f"its shape is {list(tensor.shape)}; the encoding makes it {list(known[name])}")
        for name, tensor in tensors.items()
        if name in known and tensor.shape != known[name]
    ]
    faults += [
        Fault(name, "it holds a number that is not finite")
        for name, tensor in tensors.items()
        if name in known and name != "standard_errors" and not np.isfinite(tensor).all()
    ]
    if faults:
        raise InvalidModel(faults)
    return {name: np.ascontiguousarray(tensors[name]) for name in known if name in tensors}


def _check_standardisation(encoding: Encoding, width: int) -> None:
    for name, values in (("mean", encoding.mean), ("std", encoding.std)):
        if values is not None and len(values) != width:
            raise InvalidModel(Fault(f"encoding.{name}", f"it has {len(values)} numbers for {width} design columns"))
    if (encoding.mean is None) != (encoding.std is None) or any(value <= 0 for value in encoding.std or ()):
        raise InvalidModel(Fault("encoding.std", "mean and std come together, and std is above zero"))


def _plain(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics as this service writes them, numbers by split; anything else in their place is dropped."""
    return {
        split: {name: value for name, value in found.items() if isinstance(value, int | float)}
        for split, found in metrics.items()
        if isinstance(found, dict)
    }
