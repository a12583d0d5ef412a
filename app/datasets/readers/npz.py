"""NPZ: NumPy arrays `X` and `y`, an optional test pair `X_test` and `y_test`. Pickles are never opened."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.datasets.readers.content import Content, table_content
from app.datasets.readers.upload import Upload
from app.errors import Fault, InvalidData, TooLarge

_PARTS = ("X", "y", "X_test", "y_test")
Arrays = dict[str, NDArray[Any]]


def read(upload: Upload) -> Content:
    """Columns `x1…xd` where X has two dimensions, an array column `X` where more; the target is `y`."""
    arrays = _load(upload.plain(), upload.unpacked_limit_bytes)
    train = _pair(arrays, "X", "y")
    pairs = [train, _pair(arrays, "X_test", "y_test")] if "X_test" in arrays or "y_test" in arrays else [train]
    if len(pairs) == 2 and pairs[0][0].shape[1:] != pairs[1][0].shape[1:]:
        raise InvalidData(Fault("X_test", f"its rows have shape {list(pairs[1][0].shape[1:])}, not that of X"))
    y = np.concatenate([labels for _, labels in pairs])
    about = {"test_rows": len(y) - len(train[1]), "target": "y"}
    if train[0].ndim == 2:
        X = np.concatenate([features for features, _ in pairs])
        columns = {f"x{i}": np.ascontiguousarray(X[:, i - 1]) for i in range(1, X.shape[1] + 1)}
        return table_content(pa.table({**columns, "y": y}), **about)
    return table_content(pa.table({"y": y}), arrays={"X": tuple(features for features, _ in pairs)}, **about)


def _load(path: Path, limit: int) -> Arrays:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > limit:
                raise TooLarge(f"The arrays are larger than {limit} bytes once they are decompressed.")
        # The entries are read one by one and only up to the size that was checked above.
        with np.load(path, allow_pickle=False) as file:
            unknown = [name for name in file.files if name not in _PARTS]
            if unknown:
                raise InvalidData(Fault(unknown[0], f"not expected; an NPZ here holds {', '.join(_PARTS)}"))
            return {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, KeyError) as error:
        raise InvalidData(Fault("file", "not a whole NPZ of plain arrays (no objects, no pickles)")) from error


def _pair(arrays: Arrays, features: str, target: str) -> tuple[NDArray[Any], NDArray[Any]]:
    for part in (features, target):
        if part not in arrays:
            raise InvalidData(Fault(part, f"missing: {features} and {target} belong together"))
        if arrays[part].dtype.kind not in ("iufb" if part == features else "iufbU"):
            raise InvalidData(Fault(part, f"values of type {arrays[part].dtype} are not read; use numbers"))
    X, y = arrays[features], arrays[target]
    if y.ndim != 1 or X.ndim < 2 or len(X) != len(y):
        raise InvalidData(
            Fault(target, f"shapes {list(X.shape)} and {list(y.shape)} do not pair rows with one value each")
        )
    return X, y
