"""Instances: rows that a client wants predictions for become the raw design matrix of a model.

All-numeric rows and images take one conversion by NumPy. Everything else, and everything that is wrong, is
walked through value by value, so that a fault names its row and column.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import ArrayFeature, CategoricalFeature, Feature, Matrix, NumericFeature
from app.datasets.literal import literal
from app.errors import Fault, InvalidInstances

_MOST_FAULTS = 10


class _Faults(list[Fault]):
    """The faults found so far; ten are enough. Before the rows that are looked at there were `first_row` others."""

    def __init__(self, first_row: int) -> None:
        super().__init__()
        self._first_row = first_row

    def note(self, row: int, column: str | None, message: str) -> None:
        place = f"row {self._first_row + row + 1}"
        self.append(Fault(f"{place}, column {column}" if column else place, message))
        if len(self) >= _MOST_FAULTS:
            raise InvalidInstances(self)


def encode_records(encoding: Encoding, records: Sequence[Any], first_row: int = 0) -> Matrix:
    """Objects by column name. An absent column is a missing value. Shapes: n records → (n, d)."""
    names = [feature.name for feature in encoding.features]
    known = frozenset(names)
    faults = _Faults(first_row)
    for row, record in enumerate(records):
        if not isinstance(record, Mapping):
            faults.note(row, None, f"an object by column name is needed, not {_type_name(record)}")
            continue
        for stranger in record.keys() - known:
            faults.note(row, stranger, f"the model has no such feature; it takes {_listed(names)}")
    if faults:
        raise InvalidInstances(faults)
    columns = [[record.get(name) for record in records] for name in names]
    return _encode_columns(encoding.features, columns, first_row)


def encode_instances(encoding: Encoding, instances: Sequence[Any] | NDArray[Any], first_row: int = 0) -> Matrix:
    """Rows in feature order; images flat or in their shape. Shapes: n rows → (n, d)."""
    features = encoding.features
    if not any(isinstance(feature, CategoricalFeature) for feature in features):
        fast = _as_numbers(instances, features)
        if fast is not None:
            return fast
    rows = instances.tolist() if isinstance(instances, np.ndarray) else instances
    if len(features) == 1 and isinstance(features[0], ArrayFeature):
        return _encode_columns(features, [list(rows)], first_row)
    _check_widths(rows, [feature.name for feature in features], first_row)
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in features]
    return _encode_columns(features, columns, first_row)


def _as_numbers(instances: Sequence[Any] | NDArray[Any], features: tuple[Feature, ...]) -> Matrix | None:
    """The rows by one conversion, or None where they need a closer look."""
    try:
        values = np.asarray(instances)
    except ValueError:
        return None
    shape = features[0].shape if isinstance(features[0], ArrayFeature) else (1,)
    width = int(np.prod(shape)) if len(features) == 1 else len(features)
    expected = {(width,), shape} if len(features) == 1 else {(width,)}
    if values.dtype.kind not in "fiu" or values.shape[1:] not in expected or not _all_scalar(features):
        return None
    matrix = values.reshape(len(values), -1).astype(np.float64)
    for position, feature in enumerate(features):
        if isinstance(feature, NumericFeature) and feature.boolean and not np.isin(matrix[:, position], (0, 1)).all():
            return None
    return matrix if np.isfinite(matrix).all() else None


def _all_scalar(features: tuple[Feature, ...]) -> bool:
    if any(isinstance(feature, NumericFeature) and feature.indicator for feature in features):
        return False
    return len(features) == 1 or all(isinstance(feature, NumericFeature) for feature in features)


def _check_widths(rows: Sequence[Any], names: Sequence[str], first_row: int) -> None:
    faults = _Faults(first_row)
    for row, values in enumerate(rows):
        if not isinstance(values, list | tuple):
            faults.note(row, None, f"a list of values is needed, not {_type_name(values)}")
        elif len(values) != len(names):
            faults.note(row, None, f"it has {len(values)} values; the model takes {len(names)}: {_listed(names)}")
    if faults:
        raise InvalidInstances(faults)


def _encode_columns(features: tuple[Feature, ...], columns: Sequence[list[Any]], first_row: int) -> Matrix:
    faults = _Faults(first_row)
    blocks = [_encode_column(feature, values, faults) for feature, values in zip(features, columns, strict=True)]
    if faults:
        raise InvalidInstances(faults)
    return np.hstack(blocks)


def _encode_column(feature: Feature, values: list[Any], faults: _Faults) -> Matrix:
    if isinstance(feature, CategoricalFeature):
        known = frozenset() if all(isinstance(value, str) for value in values) else frozenset(feature.levels)
        texts = [_category(value, row, feature.name, known, faults) for row, value in enumerate(values)]
        return feature.encode_to_predict(pa.array(texts, pa.string()))
    if isinstance(feature, ArrayFeature):
        empty = np.zeros((0, feature.width))
        return np.vstack([empty, *(_array(value, row, feature, faults) for row, value in enumerate(values))])
    numbers = [_number(value, row, feature, faults) for row, value in enumerate(values)]
    return feature.columns(np.array(numbers, np.float64), np.array([value is None for value in values], np.float64))


def _number(value: Any, row: int, feature: NumericFeature, faults: _Faults) -> float:
    if value is None:
        return feature.absent
    if isinstance(value, bool) and feature.boolean:
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        faults.note(row, feature.name, f"{literal(value)} is not a {'boolean' if feature.boolean else 'number'}")
    elif not _is_finite(value):
        faults.note(row, feature.name, "not a finite number; use null for a missing value")
    elif feature.boolean and value not in (0, 1):
        faults.note(row, feature.name, f"{literal(value)} is not a boolean; use true and false, or 1 and 0")
    else:
        return float(value)
    return 0.0


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:
        return False


def _category(value: Any, row: int, name: str, known: frozenset[str], faults: _Faults) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return _whole(value, known)
    faults.note(row, name, f"{literal(value)} is not a category; give it as a text")
    return None


def _whole(value: float, known: frozenset[str]) -> str:
    """A whole number as the upload spelt it: plainly, with a point as in JSON, or as columns of any numbers have it."""
    plain = str(int(value))
    if plain in known:
        return plain
    try:
        number = float(value)
    except OverflowError:
        return plain
    spellings = repr(number), str(pa.scalar(number).cast(pa.string()).as_py())
    return next((text for text in spellings if text in known), plain)


def _array(value: Any, row: int, feature: ArrayFeature, faults: _Faults) -> Matrix:
    blank = np.zeros((1, feature.width))
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        faults.note(row, feature.name, _array_objection(value, feature))
    elif array.shape not in (feature.shape, (feature.width,)):
        message = f"its shape is {list(array.shape)}; needed is {list(feature.shape)}, or {feature.width} numbers"
        faults.note(row, feature.name, message)
    else:
        return array.reshape(1, -1).astype(np.float64)
    return blank


def _array_objection(value: Any, feature: ArrayFeature) -> str:
    flat = np.asarray(value, object).reshape(-1) if isinstance(value, list | tuple) else [value]
    for position, element in enumerate(flat):
        if isinstance(element, list):
            break
        if isinstance(element, bool) or not isinstance(element, int | float) or not _is_finite(element):
            return f"element {position + 1} is {literal(element)}, not a finite number"
    return f"numbers in the shape {list(feature.shape)} are needed"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")


def _type_name(value: Any) -> str:
    names = {list: "a list", dict: "an object", str: "a text", type(None): "null", bool: "a boolean"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
