"""Records: a list of JSON objects, one per row.

The columns are the keys in order of appearance. A value is a number, a text, a boolean or null; an absent key
is null.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from app.datasets.kinds import Kind
from app.datasets.readers.content import Content, table_content
from app.errors import Fault, InvalidData

_NAMES: dict[type, str] = {bool: "a boolean", float: "a number", str: "a text"}


def read(records: Sequence[Mapping[str, Any]], columns: Mapping[str, Kind]) -> Content:
    """The records as a table. Columns declared categorical take values of any type, as text."""
    if not records:
        raise InvalidData(Fault("records", "there are no records"))
    names = list(dict.fromkeys(name for record in records for name in record))
    if not names or "" in names:
        raise InvalidData(Fault("records", "every column needs a name" if names else "the records have no columns"))
    arrays = {name: _column(records, name, columns.get(name)) for name in names}
    return table_content(pa.table(arrays))


def _column(records: Sequence[Mapping[str, Any]], name: str, declared: Kind | None) -> pa.Array:
    values = [record.get(name) for record in records]
    found: type | None = None
    for row, value in enumerate(values, 1):
        kind = _scalar_type(value, f"row {row}, column {name}")
        if found and kind and kind is not found and declared not in (Kind.CATEGORICAL, Kind.IGNORE):
            message = f"{value!r} is {_NAMES[kind]}, but {_NAMES[found]} stands above it in this column"
            raise InvalidData(Fault(f"row {row}, column {name}", message))
        found = found or kind
    if found is float and all(value is None or isinstance(value, int) for value in values) and _fits(values):
        return pa.array(values, pa.int64())
    if declared in (Kind.CATEGORICAL, Kind.IGNORE):
        return pa.array([None if value is None else _text(value) for value in values], pa.string())
    if found is float:
        return pa.array(
            [_float(value, f"row {row}, column {name}") for row, value in enumerate(values, 1)], pa.float64()
        )
    return pa.array(values, {bool: pa.bool_(), str: pa.string()}.get(found or float, pa.null()))


def _scalar_type(value: Any, location: str) -> type | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return bool
    if isinstance(value, int | float):
        return float
    if isinstance(value, str):
        return str
    raise InvalidData(Fault(location, f"a value is a number, a text, a boolean or null, not {type(value).__name__}"))


def _fits(values: list[Any]) -> bool:
    return all(value is None or -(2**63) <= value < 2**63 for value in values)


def _float(value: float | None, location: str) -> float | None:
    try:
        return None if value is None else float(value)
    except OverflowError as error:
        raise InvalidData(Fault(location, "the number is too large")) from error


def _text(value: Any) -> str:
    """A value as JSON writes it, so that 1 and true are not 1.0 and True."""
    return str(value).lower() if isinstance(value, bool) else str(value)
