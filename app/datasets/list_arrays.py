"""Lists of equal shape, as Parquet, Arrow and JSON have them, become arrays."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.datasets.kinds import WAY_OUT
from app.errors import Fault, InvalidData


def holds_arrays(kind: pa.DataType) -> bool:
    """Whether a column of this type is one of arrays."""
    return _is_list(kind) or isinstance(kind, pa.FixedShapeTensorType)


def arrays_of(column: pa.Array, name: str, start: int) -> NDArray[np.uint8] | NDArray[np.float32]:
    """The arrays of a column whose first row is `start`. Bytes stay bytes, other numbers become float32.

    Shapes:  n lists → (n, *shape)
    """
    if isinstance(column.type, pa.FixedShapeTensorType):
        _refuse_missing(column, name, start, len(column))
        arrays = column.to_numpy_ndarray()  # its axes may lie in another order than the type has them
        return _numbers(arrays.reshape(-1), name, start, arrays.shape[1:])
    rows, shape = len(column), []
    while _is_list(column.type):
        _refuse_missing(column, name, start, rows)
        shape.append(_length(column, name, start, rows))
        column = column.flatten()
    _refuse_missing(column, name, start, rows)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        message = f"lists of {column.type} are not read here; use lists of numbers, or {WAY_OUT}"
        raise InvalidData(Fault(f"column {name}", message))
    return _numbers(column.to_numpy(zero_copy_only=False), name, start, shape)


def _is_list(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _refuse_missing(column: pa.Array, name: str, start: int, rows: int) -> None:
    if column.null_count:
        position = int(column.is_null().to_numpy(zero_copy_only=False).argmax())
        raise _fault(name, start + position * rows // len(column), "a value is missing; arrays are given whole")


def _length(column: pa.Array, name: str, start: int, rows: int) -> int:
    """The length that all lists have."""
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    first = int(lengths[0])
    other = np.flatnonzero(lengths != first)
    if len(other) or not first:
        position = int(other[0]) if len(other) else 0
        message = f"a list has {int(lengths[position])} entries where {first} are in the first row; shapes must agree"
        raise _fault(name, start + position * rows // len(column), message if first else "a list is empty")
    return first


def _numbers(
    flat: NDArray[np.generic], name: str, start: int, shape: list[int]
) -> NDArray[np.uint8] | NDArray[np.float32]:
    if flat.dtype == np.uint8:
        return np.ascontiguousarray(flat).reshape(-1, *shape)
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(flat, np.float32).reshape(-1, *shape)
    finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not finite.all():
        raise _fault(name, start + int((~finite).argmax()), "an element is not a finite number of ordinary size")
    return values


def _fault(name: str, row: int, message: str) -> InvalidData:
    return InvalidData(Fault(f"row {row + 1}, column {name}", message))
