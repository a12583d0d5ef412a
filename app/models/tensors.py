"""Tensors of the Open Inference Protocol v2: named, typed and shaped, their data as JSON or as bytes after it."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.datasets.literal import literal
from app.errors import Fault, InvalidRequest

BYTES = "BYTES"
NUMPY_TYPES: dict[str, str] = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
_TYPES: dict[str, set[type]] = {"b": {bool}, "u": {int}, "i": {int}, "f": {int, float}}
"""What the JSON values of each kind of datatype are."""


class TensorBody(BaseModel):
    """An input as the protocol has it."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="`X`, or a column of the table.", examples=["X"], max_length=1000)
    shape: list[StrictInt] = Field(description="How many rows, and what a row has.", examples=[[1, 2]], max_length=9)
    datatype: str = Field(description="FP32, FP64, INT64, …; BYTES for categories.", examples=["FP32"], max_length=10)
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="`binary_data_size`: the data follow the JSON as bytes.", examples=[{}]
    )
    data: list[Any] | None = Field(None, description="The values, flat or nested.", examples=[[1.0, 2.0]])


@dataclass(frozen=True)
class Tensor:
    """An input, decoded: an array of numbers, or a list of texts (None is a missing value)."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any


class Tail:
    """The bytes that follow the JSON, handed out tensor by tensor."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._position = 0

    def take(self, size: Any, location: str) -> memoryview:
        """The next `size` bytes."""
        left = len(self._content) - self._position
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= left:
            raise InvalidRequest(
                Fault(f"{location}.parameters.binary_data_size", f"{size} bytes are asked for, {left} are there")
            )
        self._position += size
        return self._content[self._position - size : self._position]

    def check_empty(self) -> None:
        """Refuse bytes that belong to no tensor."""
        left = len(self._content) - self._position
        if left:
            raise InvalidRequest(Fault("body", f"{left} bytes follow the JSON that belong to no input"))


def decoded(body: TensorBody, position: int, tail: Tail) -> Tensor:
    """The values of an input, checked against its datatype and shape."""
    location = f"inputs[{position}]"
    if body.datatype not in NUMPY_TYPES and body.datatype != BYTES:
        known = ", ".join([*NUMPY_TYPES, BYTES])
        raise InvalidRequest(Fault(f"{location}.datatype", f"{body.datatype!r} is none of {known}"))
    shape = tuple(body.shape)
    if not shape or any(side < 0 for side in shape):
        raise InvalidRequest(Fault(f"{location}.shape", f"{body.shape} is no shape; the first side counts the rows"))
    strangers = body.parameters.keys() - {"binary_data_size", "content_type"}
    if strangers:
        raise InvalidRequest(
            Fault(f"{location}.parameters.{min(strangers)}", "this server does not have that extension")
        )
    values: Any
    if "binary_data_size" in body.parameters:
        if body.data is not None:
            raise InvalidRequest(Fault(f"{location}.data", "give either data or binary_data_size"))
        content = tail.take(body.parameters["binary_data_size"], location)
        values = _texts(content, location) if body.datatype == BYTES else _numbers(content, body.datatype, location)
    elif body.data is None:
        raise InvalidRequest(Fault(f"{location}.data", "this field is required"))
    else:
        values = _from_json(body.data, shape, body.datatype, location)
    if len(values) != prod(shape):
        message = f"it has {len(values)} elements; the shape {list(shape)} needs {prod(shape)}"
        raise InvalidRequest(Fault(f"{location}.data", message))
    return Tensor(body.name, body.datatype, shape, values if body.datatype == BYTES else values.reshape(shape))


def encoded(name: str, values: Any, as_bytes: bool) -> tuple[dict[str, Any], bytes]:
    """An output as the protocol has it, and the bytes that follow the JSON. Texts are a list or an array of objects."""
    array = np.array(values, object) if isinstance(values, list) else values
    texts = array.dtype.kind == "O"
    about: dict[str, Any] = {"name": name, "datatype": BYTES if texts else "FP64", "shape": list(array.shape)}
    if not as_bytes:
        return about | {"data": array.ravel().tolist() if texts else array.ravel()}, b""
    content = _as_bytes(array.ravel().tolist()) if texts else np.ascontiguousarray(values, "<f8").tobytes()
    return about | {"parameters": {"binary_data_size": len(content)}}, content


def _as_bytes(texts: list[str]) -> bytes:
    """Each text after its length; many rows have few classes."""
    known = {text: _length_prefixed(text) for text in set(texts)}
    return b"".join([known[text] for text in texts])


def _length_prefixed(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<I", len(content)) + content


def _numbers(content: memoryview, datatype: str, location: str) -> NDArray[Any]:
    kind = np.dtype(NUMPY_TYPES[datatype])
    if len(content) % kind.itemsize:
        message = f"{len(content)} bytes are no whole number of {datatype} values"
        raise InvalidRequest(Fault(f"{location}.parameters.binary_data_size", message))
    return np.frombuffer(content, kind)


def _texts(content: memoryview, location: str) -> list[str]:
    texts: list[str] = []
    position = 0
    try:
        while position < len(content):
            (length,) = struct.unpack_from("<I", content, position)
            position += 4 + length
            if position > len(content):
                raise InvalidRequest(Fault(f"{location}.data", f"text {len(texts) + 1} is longer than what is left"))
            texts.append(bytes(content[position - length : position]).decode())
    except (struct.error, UnicodeDecodeError) as error:
        raise InvalidRequest(
            Fault(f"{location}.data", f"text {len(texts) + 1} is no UTF-8 after its length")
        ) from error
    return texts


def _from_json(data: list[Any], shape: Sequence[int], datatype: str, location: str) -> Any:
    flat = _flat(data, shape, location)
    if datatype == BYTES:
        for place, value in enumerate(flat):
            if value is not None and not isinstance(value, str):
                raise InvalidRequest(Fault(f"{location}.data[{place}]", f"{literal(value)} is no text"))
        return flat
    kind = np.dtype(NUMPY_TYPES[datatype])
    # The types are looked at because NumPy takes a boolean among numbers for one of them.
    values = _array(flat, kind) if set(map(type, flat)) <= _TYPES[kind.kind] else None
    if values is not None:
        return values
    return np.array([_checked(value, kind, datatype, f"{location}.data[{i}]") for i, value in enumerate(flat)], object)


def _flat(data: list[Any], shape: Sequence[int], location: str) -> list[Any]:
    """The values in row-major order. Data that are nested are nested as the shape says."""
    if list not in map(type, data):
        return data
    parts: list[Any] = [data]
    for side in shape:
        if not all(isinstance(part, list) and len(part) == side for part in parts):
            break
        parts = list(chain.from_iterable(parts))
    else:
        if list not in map(type, parts):
            return parts
    raise InvalidRequest(Fault(f"{location}.data", f"nest it as the shape {list(shape)} says, or give the values flat"))


def _array(flat: list[Any], kind: np.dtype[Any]) -> NDArray[Any] | None:
    """Numbers of a datatype, fractions kept as JSON has them, in double precision; None if one is beyond the type."""
    try:
        values = np.asarray(flat, np.float64 if kind.kind == "f" else kind)
    except OverflowError:
        return None
    return values if kind.kind != "f" or _holds(kind, values) else None


def _holds(kind: np.dtype[Any], values: Any) -> bool:
    """Whether floating-point numbers stay finite in a smaller type; what is not finite is named by its row."""
    with np.errstate(over="ignore"):
        return not (np.isinf(np.asarray(values, kind)) & np.isfinite(values)).any()


def _checked(value: Any, kind: np.dtype[Any], datatype: str, location: str) -> Any:
    """One of the values that are no array as a whole; null is a missing value."""
    if value is None:
        return value
    if type(value) not in _TYPES[kind.kind]:
        raise InvalidRequest(Fault(location, f"{literal(value)} is no {datatype}"))
    if kind.kind != "b" and _array([value], kind) is None:
        raise InvalidRequest(Fault(location, f"{literal(value)} is beyond the numbers of {datatype}"))
    return value
