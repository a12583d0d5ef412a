"""Tables to predict: an Arrow table, from whatever format, becomes the design matrix of a model.

A column missing from the table and a column unknown to the model are refused by name; a null is a missing value, as it
was at training; what is no number, or not finite, is refused by row and column.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import ArrayFeature, CategoricalFeature, Feature, Matrix
from app.datasets.kinds import FALSE, TRUE, as_numbers, decoded
from app.datasets.literal import literal
from app.datasets.slices import spread_bytes
from app.datasets.spelling import is_date_or_time, spelled
from app.errors import Fault, InvalidInstances

_MOST_FAULTS = 10
MOST_TEXT_BYTES = 256 << 20
"""Of a column whose texts stand once for many rows: a small body may make gigabytes."""
_TRUTHS = dict.fromkeys(TRUE, 1.0) | dict.fromkeys(FALSE, 0.0)


def check_columns(encoding: Encoding, names: Sequence[str]) -> None:
    """Refuse a table that lacks a column of the model, or has one that the model does not know."""
    expected = [name for feature in encoding.features for name in _columns(feature, names)]
    faults = [Fault(f"column {name}", "the model needs it; the table has no such column") for name in expected]
    faults = [fault for fault, name in zip(faults, expected, strict=True) if name not in names]
    known = set(expected)
    listed = ", ".join(expected[:20]) + (", …" if len(expected) > 20 else "")
    faults += [
        Fault(f"column {n}", f"the model has no such feature; it takes {listed}") for n in names if n not in known
    ]
    faults += [Fault(f"column {n}", "it stands in the table twice") for n in known if list(names).count(n) > 1]
    if faults:
        raise InvalidInstances(faults[:_MOST_FAULTS])


def encode_table(encoding: Encoding, table: pa.Table | pa.RecordBatch, first_row: int = 0) -> Matrix:
    """Shapes: n rows → (n, d). `first_row` is how many rows came before, for the places that faults name."""
    faults: list[Fault] = []
    blocks = [_encode(feature, table, first_row, faults) for feature in encoding.features]
    if faults:
        raise InvalidInstances(faults[:_MOST_FAULTS])
    return np.hstack(blocks) if len(blocks) > 1 else blocks[0]


def _columns(feature: Feature, names: Sequence[str]) -> list[str]:
    """An array comes as one column of lists, or as a column for each element."""
    if isinstance(feature, ArrayFeature) and feature.name not in names:
        return feature.names
    return [feature.name]


def _encode(feature: Feature, table: Any, first_row: int, faults: list[Fault]) -> Matrix:
    if isinstance(feature, CategoricalFeature):
        texts = _texts(_whole(table, feature.name), feature, first_row, faults)
        return feature.encode_to_predict(texts)
    if isinstance(feature, ArrayFeature):
        return _array(feature, table, first_row, faults)
    column = _whole(table, feature.name)
    numbers = _numbers(column, feature.name, feature.boolean, first_row, faults)
    filled: Matrix = pc.fill_null(numbers, feature.absent).to_numpy(zero_copy_only=False)
    if feature.indicator:
        return feature.columns(filled, numbers.is_null().to_numpy(zero_copy_only=False))
    return filled.reshape(-1, 1)


def _whole(table: Any, name: str) -> pa.Array:
    """A column as one array, of values and not of codes."""
    column = table.column(name)
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if spread_bytes(column) > MOST_TEXT_BYTES:
        many = f"its texts take more than {MOST_TEXT_BYTES >> 20} MiB once each row has its own; send fewer rows"
        raise InvalidInstances([Fault(f"column {name}", many)])
    return decoded(column)


def _numbers(column: pa.Array, name: str, boolean: bool, first_row: int, faults: list[Fault]) -> pa.Array:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        # Views are read as texts, as in uploads; what trims texts does not take them.
        column = column.cast(pa.large_string()) if pa.types.is_string_view(kind) else column
        return _parsed(column, name, boolean, first_row, faults)
    if not _is_number(kind, boolean):
        what = "a boolean" if boolean else "a number"
        faults.append(Fault(f"row {first_row + 1}, column {name}", f"the column is {kind}, not {what}"))
        return pa.nulls(len(column), pa.float64())
    # Through unsafe casts, as JSON does: an integer beyond 2⁵³ is rounded.
    numbers = as_numbers(column)
    good = pc.is_finite(numbers)
    if boolean:
        good = pc.and_(good, pc.or_(pc.equal(numbers, 0.0), pc.equal(numbers, 1.0)))
    _note(
        good, column, name, "not a boolean" if boolean else "not finite; leave a missing value empty", first_row, faults
    )
    return numbers


def _is_number(kind: pa.DataType, boolean: bool) -> bool:
    if pa.types.is_boolean(kind):
        return boolean
    return any(
        test(kind) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    )


def _parsed(column: pa.Array, name: str, boolean: bool, first_row: int, faults: list[Fault]) -> pa.Array:
    texts = pc.utf8_trim_whitespace(column)
    if boolean:
        values = [None if text is None else _TRUTHS.get(text.lower(), np.nan) for text in texts.to_pylist()]
        numbers = pa.array(values, pa.float64(), from_pandas=False)
    else:
        try:
            numbers = texts.cast(pa.float64())
        except pa.ArrowInvalid:
            numbers = pa.array([_number(text) for text in texts.to_pylist()], pa.float64(), from_pandas=False)
    good = pc.is_finite(numbers)
    _note(good, column, name, "not a boolean" if boolean else _not_a_number(texts, good), first_row, faults)
    return numbers


def _not_a_number(texts: pa.Array, good: pa.Array) -> str:
    """What is wrong with texts that are no numbers, and what to do if all of them have a decimal comma."""
    bad = pc.filter(texts, pc.invert(pc.fill_null(good, True)))
    cure = "; write numbers with a point, or say decimal=, of CSV" if _have_commas(bad) else ""
    return f"not a finite number{cure}"


def _have_commas(texts: pa.Array) -> bool:
    return bool(len(texts)) and pc.all(pc.match_substring_regex(texts, r"^[-+]?\d+,\d+$")).as_py()


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else pa.scalar(text).cast(pa.float64()).as_py()
    except pa.ArrowInvalid:
        return float("nan")


def _note(good: pa.Array, column: pa.Array, name: str, message: str, first_row: int, faults: list[Fault]) -> None:
    """Name the first rows that are not good; a null is."""
    bad = pc.invert(pc.fill_null(good, True))
    if pc.any(bad).as_py():
        faults += [
            Fault(f"row {first_row + row + 1}, column {name}", f"{literal(column[row].as_py())} is {message}")
            for row in np.flatnonzero(bad.to_numpy(zero_copy_only=False))[:_MOST_FAULTS].tolist()
        ]


def _texts(column: pa.Array, feature: CategoricalFeature, first_row: int, faults: list[Fault]) -> pa.Array:
    """As an upload spelt them."""
    kind, name = column.type, feature.name
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_integer(kind):
        return _number_texts(column, feature, first_row, faults)
    if is_date_or_time(kind):
        return spelled(column)
    if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_binary(kind):
        faults.append(Fault(f"row {first_row + 1}, column {name}", f"the column is {kind}, not text"))
        return pa.nulls(len(column), pa.string())
    return column.cast(pa.string())


def _number_texts(column: pa.Array, feature: CategoricalFeature, first_row: int, faults: list[Fault]) -> pa.Array:
    """A column of any numbers has 1e+15, one of texts may have 1.0 where others have 1, and decimals their digits."""
    kind = column.type
    numbers = as_numbers(column)
    whole = pc.equal(pc.round(numbers), numbers)
    if not pa.types.is_decimal(kind):
        _note(whole, column, feature.name, "not a category; give it as a text", first_row, faults)
    wholes = pc.if_else(pc.fill_null(whole, False), numbers, None)
    plain = (column if pa.types.is_integer(kind) else wholes.cast(pa.int64(), safe=False)).cast(pa.string())
    own = spelled(column) if pa.types.is_decimal(kind) else plain
    spellings = own, plain, numbers.cast(pa.string()), pc.binary_join_element_wise(plain, "0", ".")
    levels = pa.array(feature.levels, pa.string())
    return pc.coalesce(*(pc.if_else(pc.is_in(texts, levels), texts, None) for texts in spellings), own)


def _array(feature: ArrayFeature, table: Any, first_row: int, faults: list[Fault]) -> Matrix:
    if feature.name not in table.schema.names:
        columns = [_numbers(_whole(table, name), name, False, first_row, faults) for name in feature.names]
        for name, column in zip(feature.names, columns, strict=True):
            _note(column.is_valid(), column, name, "missing; an array has no missing elements", first_row, faults)
        return np.column_stack([pc.fill_null(column, 0.0).to_numpy(zero_copy_only=False) for column in columns])
    column = _whole(table, feature.name)
    lengths = _leaf_counts(column)
    _note(
        pc.equal(lengths, feature.width),
        lengths,
        feature.name,
        f"elements; needed are {feature.width}",
        first_row,
        faults,
    )
    if faults:
        return np.zeros((len(column), feature.width))
    leaves = column
    while pa.types.is_nested(leaves.type):
        leaves = leaves.flatten()
    numbers = _numbers(leaves, feature.name, False, first_row, faults)
    if numbers.null_count:
        row = int(np.flatnonzero(numbers.is_null().to_numpy(zero_copy_only=False))[0]) // feature.width
        faults.append(Fault(f"row {first_row + row + 1}, column {feature.name}", "an element is missing"))
        return np.zeros((len(column), feature.width))
    elements: Matrix = numbers.to_numpy(zero_copy_only=False)
    return elements.reshape(-1, feature.width)


def _leaf_counts(column: pa.Array) -> pa.Array:
    """How many elements each row has, all dimensions together; zero for a null, for no list and for a ragged one."""
    kind = column.type
    if not pa.types.is_nested(kind) or pa.types.is_struct(kind):
        return pa.array(np.zeros(len(column), np.int64))
    if not pa.types.is_nested(kind.value_type):
        return pc.fill_null(pc.list_value_length(column), 0)
    return pa.array([_leaves(value) for value in column.to_pylist()], pa.int64())


def _leaves(value: Any) -> int:
    try:
        return np.size(np.asarray(value)) if value is not None else 0
    except ValueError:
        return 0
