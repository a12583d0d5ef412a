"""The Open Inference Protocol v2: what a model takes and gives as tensors, and inference on them.

A model whose row is numbers takes one tensor `X` [n, d]; an image model also takes it in the image's shape. Models on
tables take a tensor for each column as well, and only so where a column is a category. A classifier gives `predict`
(BYTES) and `probabilities`, a regression `predict`; `contributions`, `baseline` and `interval` are given when asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from app.datasets.feature_encoding import ArrayFeature, CategoricalFeature, Feature
from app.errors import Fault, InvalidInstances, InvalidRequest
from app.models.bodies import answer_rows, answer_table, check_not_empty, limit_rows
from app.models.explanation import baseline, contribution_names
from app.models.prediction import Answer, Wish
from app.models.predictor import Loaded
from app.models.tabular import check_columns
from app.models.tensors import BYTES, Tensor, encoded
from app.models.weights import Matrix

PLATFORM = "onelayer"


@dataclass(frozen=True)
class Output:
    """An output that a client asks for."""

    name: str
    as_bytes: bool
    classes: int | None = None
    """As the classification extension has it: so many of the most probable classes instead of the numbers."""

    @classmethod
    def of(cls, name: str, parameters: Mapping[str, Any], all_bytes: bool, location: str) -> Self:
        """The output that a request describes at a location."""
        strangers = parameters.keys() - {"binary_data", "classification", "content_type"}
        if strangers:
            raise InvalidRequest(Fault(f"{location}.{min(strangers)}", "this server does not have that extension"))
        as_bytes, classes = parameters.get("binary_data", all_bytes), parameters.get("classification")
        if not isinstance(as_bytes, bool):
            raise InvalidRequest(Fault(f"{location}.binary_data", "use true or false"))
        if classes is not None and (type(classes) is not int or classes < 1):
            raise InvalidRequest(Fault(f"{location}.classification", "use a number of classes, 1 or more"))
        return cls(name, as_bytes, classes)


def metadata(loaded: Loaded, name: str, versions: Sequence[str]) -> dict[str, Any]:
    """What the protocol calls model metadata."""
    return {
        "name": name, "versions": list(versions), "platform": f"{PLATFORM}_{loaded.row.kind}",
        "inputs": _inputs(loaded), "outputs": _outputs(loaded),
    }  # fmt: skip


def infer(loaded: Loaded, inputs: Sequence[Tensor], asked: Sequence[Output], most_rows: int) -> Answer:
    """The answer to the tensors of one request."""
    wished = wish(loaded, asked)
    names = [tensor.name for tensor in inputs]
    if names == ["X"] and not any(feature.name == "X" for feature in loaded.encoding.features):
        return answer_rows(loaded, _rows(loaded, inputs[0]), wished, most_rows)
    _check_names(loaded, names)
    counts = {tensor.name: tensor.shape[0] for tensor in inputs}
    if len(set(counts.values())) > 1:
        raise InvalidRequest(Fault("inputs", f"the tensors have different numbers of rows: {counts}"))
    limit_rows(loaded, wished, inputs[0].shape[0], most_rows)
    check_not_empty(inputs[0].shape[0], "inputs")
    features = {feature.name: feature for feature in loaded.encoding.features}
    columns = {tensor.name: _column(features[tensor.name], tensor, i) for i, tensor in enumerate(inputs)}
    return answer_table(loaded, pa.table(columns), wished)


def _check_names(loaded: Loaded, names: Sequence[str]) -> None:
    """Refuse what are not the model's columns; if none of them is one, with the tensors that its metadata tells of."""
    features = loaded.encoding.features
    arrays = [feature.name for feature in features if isinstance(feature, ArrayFeature)]
    only = _inputs(loaded)[0]
    if only["name"] == "X" and not any(feature.name in names for feature in features):
        listed = ", ".join(feature.name for feature in features[:20]) + (", …" if len(features) > 20 else "")
        others = f"one {listed}" if arrays else f"a tensor for each column: {listed}"
        message = (
            f"the model has no input {names[0]!r}; send one tensor X of shape [n, {only['shape'][1]}], or {others}"
        )
        raise InvalidRequest(Fault("inputs[0].name", message))
    if absent := [name for name in arrays if name not in names]:  # not as a tensor for each element
        raise InvalidInstances([Fault(f"column {name}", "the model needs it, as one tensor") for name in absent])
    check_columns(loaded.encoding, names)


def reply(answer: Answer, asked: Sequence[Output], head: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The JSON of a response, and the bytes that follow it."""
    parts = [encoded(output.name, _value(answer, output), output.as_bytes) for output in asked]
    document = {**head, "outputs": [about for about, _ in parts]}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), b"".join(content for _, content in parts)


def default_outputs(loaded: Loaded) -> list[str]:
    """What is given when nothing is asked for."""
    return ["predict", "probabilities"] if loaded.row.kind == "softmax" else ["predict"]


def wish(loaded: Loaded, asked: Sequence[Output]) -> Wish:
    """What the outputs that are asked for take, or the one that the model does not have."""
    known = [
        *default_outputs(loaded),
        "contributions",
        "baseline",
        *(["interval"] if loaded.row.kind == "linear" else []),
    ]
    for position, output in enumerate(asked):
        if output.name not in known:
            message = f"the model has no output {output.name!r}; it has {', '.join(known)}"
            raise InvalidRequest(Fault(f"outputs[{position}].name", message))
        if output.classes is not None:
            _check_classification(loaded, output, f"outputs[{position}].parameters.classification")
    return Wish(frozenset(output.name for output in asked if output.name not in ("predict", "baseline")))


def _check_classification(loaded: Loaded, output: Output, location: str) -> None:
    if output.name != "probabilities":
        raise InvalidRequest(Fault(location, "it applies to the output probabilities of a classifier"))
    if (output.classes or 0) > len(loaded.output_names):
        raise InvalidRequest(Fault(location, f"the model has {len(loaded.output_names)} classes"))


def _value(answer: Answer, output: Output) -> Any:
    if output.name == "baseline":
        return baseline(answer.loaded)
    fields = {"predict": "predictions", "interval": "intervals"}
    values = getattr(answer, fields.get(output.name, output.name))
    return _labelled(values, answer.loaded.output_names, output.classes) if output.classes else values


def _labelled(probabilities: Matrix, classes: Sequence[str], count: int) -> NDArray[Any]:
    """Each row's most probable classes as the texts `value:index:label`.

    Shapes:  probabilities (n, k) → (n, count)
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    best = np.take_along_axis(probabilities, order, axis=1)
    texts = [f"{v}:{i}:{classes[i]}" for v, i in zip(best.ravel().tolist(), order.ravel().tolist(), strict=True)]
    return np.array(texts, object).reshape(order.shape)


def _rows(loaded: Loaded, tensor: Tensor) -> Any:
    """The rows of `X`: an array, or lists where only a closer look can name what is wrong."""
    if any(isinstance(feature, CategoricalFeature) for feature in loaded.encoding.features):
        takes = ", ".join(feature.name for feature in loaded.encoding.features[:20])
        raise InvalidRequest(
            Fault("inputs[0].name", f"a model with categories takes a tensor for each column: {takes}")
        )
    if tensor.datatype == BYTES:
        raise InvalidRequest(Fault("inputs[0].datatype", "X holds numbers; BYTES are for categories"))
    if len(tensor.shape) < 2:
        raise InvalidRequest(Fault("inputs[0].shape", f"{list(tensor.shape)}: X has a row for each instance, [n, d]"))
    values = tensor.values
    return values.tolist() if values.dtype.kind == "O" else values


def _column(feature: Feature, tensor: Tensor, position: int) -> pa.Array:
    if isinstance(feature, ArrayFeature):
        return _arrays(feature, tensor, position)
    if tensor.shape not in ((tensor.shape[0],), (tensor.shape[0], 1)):
        raise InvalidRequest(Fault(f"inputs[{position}].shape", f"{list(tensor.shape)}: a column is [n] or [n, 1]"))
    if tensor.datatype == BYTES:
        if not isinstance(feature, CategoricalFeature):
            message = f"the column {feature.name} holds numbers; BYTES are for categories"
            raise InvalidRequest(Fault(f"inputs[{position}].datatype", message))
        return pa.array(tensor.values, pa.string())
    values = tensor.values.ravel()
    # From an object array, which JSON nulls make, to numbers with missing values.
    return pa.array(values.tolist(), from_pandas=False) if values.dtype.kind == "O" else pa.array(values)


def _arrays(feature: ArrayFeature, tensor: Tensor, position: int) -> pa.Array:
    if tensor.datatype == BYTES or tensor.shape[1:] not in (feature.shape, (feature.width,)):
        message = f"{list(tensor.shape)} of {tensor.datatype}: needed are numbers, [n, {feature.width}]"
        raise InvalidRequest(Fault(f"inputs[{position}].shape", message))
    flat = np.asarray(tensor.values, np.float64).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), feature.width)


def _inputs(loaded: Loaded) -> list[dict[str, Any]]:
    features = loaded.encoding.features
    if not any(isinstance(feature, CategoricalFeature) for feature in features):
        only = features[0]
        width = only.width if len(features) == 1 and isinstance(only, ArrayFeature) else len(features)
        if len(features) == 1 or not any(isinstance(feature, ArrayFeature) for feature in features):
            return [{"name": "X", "datatype": "FP32", "shape": [-1, width]}]
    return [{"name": feature.name, **_type(feature)} for feature in features]


def _type(feature: Feature) -> dict[str, Any]:
    if isinstance(feature, ArrayFeature):
        return {"datatype": "FP32", "shape": [-1, feature.width]}
    return {"datatype": BYTES if isinstance(feature, CategoricalFeature) else "FP64", "shape": [-1]}


def _outputs(loaded: Loaded) -> list[dict[str, Any]]:
    k = len(loaded.output_names)
    contributing = len(contribution_names(loaded))
    extra: list[dict[str, Any]] = []
    if loaded.statistics is not None:
        extra = [{"name": "contributions", "datatype": "FP64", "shape": [-1, contributing, k]}]
        extra.append({"name": "baseline", "datatype": "FP64", "shape": [k]})
        if loaded.statistics.uncertainty is not None:
            extra.append({"name": "interval", "datatype": "FP64", "shape": [-1, k, 2]})
    if loaded.row.kind == "linear":
        return [{"name": "predict", "datatype": "FP64", "shape": [-1] if k == 1 else [-1, k]}, *extra]
    probabilities = {"name": "probabilities", "datatype": "FP64", "shape": [-1, k]}
    return [{"name": "predict", "datatype": BYTES, "shape": [-1]}, probabilities, *extra]
