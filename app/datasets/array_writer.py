"""ArrayWriter: the arrays of one column become one `.npy` file, part by part, hashed on the way."""

import hashlib
import math
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from app.errors import Fault, InvalidData

_CHUNK_ROWS = 4096


class ArrayWriter:
    """Writes arrays of one shape end to end. How many there are stands in the file's head once all have come."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._file = path.open("wb+")
        self._hash = hashlib.sha256()
        self._shape: tuple[int, ...] | None = None
        self._type: np.dtype[Any] = np.dtype(np.float32)
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, values: NDArray[Any]) -> None:
        """Add arrays, one for each row. Shapes: (n, *shape), the same at every call."""
        if self._shape is None:
            self._begin(values)
        if values.shape[1:] != self._shape:
            message = f"its shape is {list(values.shape[1:])}, but {list(self._shape or ())} in the first row"
            raise InvalidData(Fault(f"row {self.rows + 1}, column {self._name}", message))
        if self._type == np.uint8 and values.dtype != np.uint8:
            message = f"its elements are {values.dtype}, but bytes in the first row; give all of them in one type"
            raise InvalidData(Fault(f"row {self.rows + 1}, column {self._name}", message))
        for start in range(0, len(values), _CHUNK_ROWS):
            self._write(np.ascontiguousarray(values[start : start + _CHUNK_ROWS], self._type))

    @property
    def cells(self) -> int:
        """How many elements have been written."""
        return self.rows * math.prod(self._shape or ())

    def finish(self) -> bytes:
        """Complete the file; the digest of its values."""
        self._head()
        self._file.flush()
        return self._hash.digest()

    def _begin(self, values: NDArray[Any]) -> None:
        self._type = np.dtype(np.uint8 if values.dtype == np.uint8 else np.float32)
        self._shape = values.shape[1:]
        self._hash.update(f"{self._type.str}{self._shape}".encode())
        self._head()

    def _write(self, part: NDArray[Any]) -> None:
        if part.dtype == np.float32 and not np.isfinite(part).all():
            raise InvalidData(Fault(f"column {self._name}", "an element is not a finite number"))
        self._hash.update(part.data)
        self._file.write(part.data)
        self.rows += len(part)

    def _head(self) -> None:
        """NumPy leaves room in the head for the first axis to grow, so that it can be written again in place."""
        end = self._file.tell()
        self._file.seek(0)
        head = {"descr": self._type.str, "fortran_order": False, "shape": (self.rows, *(self._shape or ()))}
        npy.write_array_header_1_0(self._file, head)
        self._file.seek(max(end, self._file.tell()))
