"""Spelling: dates, times and decimals as the texts that CSV and JSON have for them, whatever unit they are kept in."""

import pyarrow as pa
import pyarrow.compute as pc

_ZEROS_AT_THE_END = r"(\.\d*[1-9])0+$|\.0+$"


def is_spelled(kind: pa.DataType) -> bool:
    """Whether values of a type have a spelling of their own, which their stored type does not keep."""
    return is_date_or_time(kind) or pa.types.is_decimal(kind) or kind == pa.uint64()


def is_date_or_time(kind: pa.DataType) -> bool:
    """Whether values of a type are dates, times of day or both."""
    return bool(pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind))


def spelled(column: pa.Array) -> pa.Array:
    """Dates as 2024-01-31, times with no more of a second than they have, in UTC, and decimals by their digits."""
    kind = column.type
    if pa.types.is_decimal(kind):
        return _digits(column)
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp(kind.unit))
    texts = column.cast(pa.string())
    has_fraction = pa.types.is_time(kind) or pa.types.is_timestamp(kind)
    return pc.replace_substring_regex(texts, _ZEROS_AT_THE_END, r"\1") if has_fraction else texts


def _digits(column: pa.Array) -> pa.Array:
    texts = column.cast(pa.string())
    if not pc.any(pc.match_substring(texts, "E")).as_py():
        return texts
    return pa.array([None if value is None else f"{value:f}" for value in column.to_pylist()], pa.string())
