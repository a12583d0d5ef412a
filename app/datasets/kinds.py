"""The kinds of column, and how each lies on disk.

A kind says what a column means; one Arrow type per kind says how it is kept, so that the same table has the
same files and the same hash whatever format it came in.
"""

from enum import StrEnum
from typing import Any

import pyarrow as pa


class Kind(StrEnum):
    """What a column means to a model."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    ARRAY = "array"
    """Equally shaped arrays, such as images: kept in a file of their own."""
    IGNORE = "ignore"
    """Kept and shown, but no feature unless declared otherwise: date-times, and columns without a value.

    A column that no kind holds, and one of arrays, is left out where it is declared so.
    """


DECLARABLE = (Kind.NUMERIC, Kind.CATEGORICAL, Kind.BOOLEAN, Kind.IGNORE)
"""The kinds that a client may declare for a column."""

WAY_OUT = "declare it ignore in columns to leave it out"
"""What to do with a column that no kind holds."""

MISSING = (
    *(
        "",
        "NA",
        "N/A",
        "n/a",
        "na",
        "NaN",
        "nan",
        "-NaN",
        "-nan",
        "NULL",
        "Null",
        "null",
        "None",
        "none",
        "<NA>",
    ),
    *("#N/A", "#N/A N/A", "#NA", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
"""How text formats spell a missing value. Formats that have a null of their own use that instead."""


TRUE = ("true", "t", "yes", "y", "1", "1.0")
FALSE = ("false", "f", "no", "n", "0", "0.0")
"""How texts spell the two booleans, in lower case: in uploads and in rows to predict alike."""


def stored_type(given: pa.DataType) -> pa.DataType | None:
    """The Arrow type in which a column of type `given` is kept; None where no kind holds it."""
    if pa.types.is_dictionary(given):
        return stored_type(given.value_type)
    if pa.types.is_integer(given):
        return pa.float64() if given == pa.uint64() else pa.int64()
    if pa.types.is_floating(given) or pa.types.is_decimal(given) or pa.types.is_null(given):
        return pa.float64()
    if pa.types.is_boolean(given):
        return pa.bool_()
    if pa.types.is_date(given) or pa.types.is_timestamp(given):
        return pa.timestamp("us")
    return pa.string() if _is_text(given) else None


def as_numbers(column: Any) -> Any:
    """Numbers or booleans in float64; a whole number beyond 2⁵³ becomes the nearest one there is.

    Decimals go by way of their text: Arrow's own cast of them is off by a unit in the last place now and then.
    """
    return (column.cast(pa.string()) if pa.types.is_decimal(column.type) else column).cast(pa.float64(), safe=False)


def decoded(column: pa.Array) -> pa.Array:
    """The values of a column that may be of codes."""
    if not pa.types.is_dictionary(column.type):
        return column
    if pa.types.is_string_view(column.type.value_type):  # which Arrow does not decode
        texts = column.dictionary.cast(pa.large_string())
        column = pa.DictionaryArray.from_arrays(column.indices, texts)
    return column.dictionary_decode()


def kind_of(stored: pa.DataType) -> Kind:
    """The kind that a stored type has when nobody declares another."""
    if stored in (pa.int64(), pa.float64()):
        return Kind.NUMERIC
    if stored == pa.bool_():
        return Kind.BOOLEAN
    return Kind.CATEGORICAL if stored == pa.string() else Kind.IGNORE


def _is_text(given: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_time)
    return any(test(given) for test in tests)
