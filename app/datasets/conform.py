"""Conforming: a batch as it was read becomes a batch in stored types, of the kinds that are declared."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.kinds import FALSE, TRUE, WAY_OUT, Kind, as_numbers, decoded, stored_type
from app.datasets.literal import literal
from app.datasets.spelling import is_spelled, spelled
from app.errors import Fault, InvalidData

_LARGEST = float(np.finfo(np.float32).max)
_FIRST_TIME, _LAST_TIME = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds since 1970."""
_TRUE, _FALSE = pa.array(TRUE), pa.array(FALSE)


def conformed(batch: pa.RecordBatch, columns: Mapping[str, Kind], start: int) -> pa.RecordBatch:
    """The batch in stored types. `start` rows came before it, so that faults name the right row."""
    arrays = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        arrays[name] = _conformed(column, columns.get(name), Place(name, start))
    return pa.RecordBatch.from_pydict(arrays)


class Place:
    """Where in the source a column of a batch stands."""

    def __init__(self, column: str, start: int) -> None:
        self.column = column
        self.start = start

    def fault(self, row: int, message: str) -> InvalidData:
        """The error that names this column and a row of the batch."""
        return InvalidData(Fault(f"row {self.start + row + 1}, column {self.column}", message))


def _conformed(column: pa.Array, declared: Kind | None, place: Place) -> pa.Array:
    column = decoded(column)
    target = stored_type(column.type)
    if target is None:
        raise InvalidData(Fault(f"column {place.column}", f"values of type {column.type} are not read here; {WAY_OUT}"))
    stored = column if column.type == target else _stored(column, target, place)
    if pa.types.is_timestamp(target):
        _check_years(stored, place)
    if declared is Kind.CATEGORICAL and is_spelled(column.type):
        stored = spelled(column)  # what is stored otherwise has another spelling
    elif declared in _DECLARED:
        stored = _DECLARED[declared](stored, place)
    if stored.type == pa.string():
        _refuse_nul(stored, place)
    return _finite(stored, declared, place) if stored.type == pa.float64() else stored


def _stored(column: pa.Array, target: pa.DataType, place: Place) -> pa.Array:
    try:
        if pa.types.is_timestamp(target):
            is_finer = getattr(column.type, "unit", None) == "ns"
            return column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=not is_finer).cast(target)
        if pa.types.is_time(column.type):
            return spelled(column)
        return as_numbers(column) if target == pa.float64() else column.cast(target)
    except pa.ArrowInvalid as error:
        raise InvalidData(Fault(f"column {place.column}", f"a value is too large for {target}")) from error


def _check_years(column: pa.Array, place: Place) -> None:
    """Calendars here, as Python's, have the years 1 to 9999."""
    values = column.cast(pa.int64())
    within = pc.and_(pc.greater_equal(values, _FIRST_TIME), pc.less_equal(values, _LAST_TIME))
    outside = pc.invert(pc.fill_null(within, True)).to_numpy(zero_copy_only=False)
    if outside.any():
        raise place.fault(int(outside.argmax()), f"a date outside the years 1 to 9999; {WAY_OUT}")


def _refuse_nul(column: pa.Array, place: Place) -> None:
    """PostgreSQL has no text with NUL, nor have most programs that the data may come to.

    All bytes are looked at at once, which takes a hundredth of the time; a zero among them may lie outside the texts.
    """
    buffer = column.buffers()[2]
    if buffer is None or np.frombuffer(buffer, np.uint8).all():
        return
    found = pc.fill_null(pc.match_substring(column, "\0"), False).to_numpy(zero_copy_only=False)
    if found.any():
        raise place.fault(int(found.argmax()), "a NUL character, which no text here may have; remove it")


def _finite(column: pa.Array, declared: Kind | None, place: Place) -> pa.Array:
    """A number that training in float32 would take for infinite is refused; NaN is a missing value.

    In a column that is ignored so is the number, since the statistics that all columns have would be infinite.
    """
    values = column.to_numpy(zero_copy_only=False)
    within = np.abs(values) <= _LARGEST
    if within.all():
        return column
    missing = np.isnan(values)
    if declared is Kind.IGNORE:
        values = np.where(within, values, np.nan)
    elif not (within | missing).all():
        row = int((~(within | missing)).argmax())
        # What is beyond a double has become infinite, and what the file says is no longer known.
        what = f"{values[row]:g} is" if np.isfinite(values[row]) else "the number is infinite, or"
        cure = "leave it missing, or declare the column ignore, where it counts as missing"
        raise place.fault(row, f"{what} too large; a number is at most {_LARGEST:.2g}; {cure}")
    return pa.array(values, from_pandas=True)


def _as_number(column: pa.Array, place: Place) -> pa.Array:
    if column.type in (pa.int64(), pa.float64()):
        return column
    try:
        return _trimmed(column).cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        values = column.to_pylist()
        row = next((row for row, value in enumerate(values) if not _is_number(pa.array([value], column.type))), 0)
        raise place.fault(row, _misfit(values[row], "a number")) from None


def _trimmed(column: pa.Array) -> pa.Array:
    """Texts without the blanks around them, which CSV does not count either."""
    return pc.utf8_trim_whitespace(column) if column.type == pa.string() else column


def _is_number(value: pa.Array) -> bool:
    try:
        _trimmed(value).cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _as_text(column: pa.Array, place: Place) -> pa.Array:
    return column.cast(pa.string())


def _as_boolean(column: pa.Array, place: Place) -> pa.Array:
    if column.type == pa.bool_():
        return column
    texts = pc.utf8_lower(_trimmed(column.cast(pa.string())))
    yes, no = pc.is_in(texts, _TRUE), pc.is_in(texts, _FALSE)
    unknown = pc.and_(pc.is_valid(texts), pc.invert(pc.or_(yes, no))).to_numpy(zero_copy_only=False)
    if unknown.any():
        row = int(unknown.argmax())
        raise place.fault(
            row, _misfit(column[row].as_py(), "a boolean", "; use true and false, yes and no, or 1 and 0")
        )
    return pc.if_else(pc.is_valid(texts), yes, pa.scalar(None, pa.bool_()))


def _misfit(value: Any, wanted: str, cure: str = "") -> str:
    if isinstance(value, datetime):
        return f"{value} is a date, not {wanted}; declare it categorical or ignore, or write it as {wanted}"
    if isinstance(value, str) and not value.strip():
        cure = "; use null for a missing value"
    return f"{literal(value)} is not {wanted}{cure}"


_DECLARED: Mapping[Kind | None, Callable[[pa.Array, Place], pa.Array]] = {
    Kind.NUMERIC: _as_number,
    Kind.CATEGORICAL: _as_text,
    Kind.BOOLEAN: _as_boolean,
}
