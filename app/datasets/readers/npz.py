"""NPZ: NumPy arrays `X` and `y`, an optional test pair `X_test` and `y_test`. Pickles are never opened."""

import errno
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy
from numpy.typing import NDArray

from app.datasets.readers.content import Content, check_labels, label_column
from app.datasets.readers.upload import Upload
from app.errors import Fault, InvalidData, TooLarge

_PARTS = ("X", "y", "X_test", "y_test")
_BATCH_ROWS = 16_384
_CHUNK = 1 << 20
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What `savez` and `savez_compressed` write. Others have decoders with errors, and appetites, of their own."""

_ENCRYPTED = 0x1
_MESSAGE = "not a whole NPZ of plain arrays (no objects, no pickles), as numpy.savez and savez_compressed write it"
Arrays = dict[str, NDArray[Any]]


def read(upload: Upload) -> Content:
    """Columns `x1…xd` where X has two dimensions, an array column `X` where more; the target is `y`.

    Whole numbers in `y` may be given names: then they are classes, as the labels of IDX are.
    """
    arrays = _load(upload.plain(), upload.unpacked_limit_bytes)
    train = _pair(arrays, "X", "y")
    pairs = [train, _pair(arrays, "X_test", "y_test")] if "X_test" in arrays or "y_test" in arrays else [train]
    if len(pairs) == 2 and pairs[0][0].shape[1:] != pairs[1][0].shape[1:]:
        raise InvalidData(Fault("X_test", f"its rows have shape {list(pairs[1][0].shape[1:])}, not that of X"))
    _check_texts(pairs[0][1], pairs[-1][1])
    names = upload.class_names
    for (_, labels), part in zip(pairs, ("y", "y_test"), strict=False):
        _check_names(labels, names, part)
    kind = _read_as(np.result_type(*(labels.dtype for _, labels in pairs)))
    number = _read_as(np.result_type(*(features.dtype for features, _ in pairs)))
    is_table = train[0].ndim == 2
    upload.bounds.check_columns(train[0].shape[1] + 1 if is_table else 2)

    def batches() -> Iterator[pa.RecordBatch]:
        for X, y in pairs:
            for start in range(0, len(y), _BATCH_ROWS):
                rows = slice(start, start + _BATCH_ROWS)
                target = label_column(y[rows], names) if names else np.asarray(y[rows], kind)
                yield pa.record_batch({**(_columns(X[rows], number) if is_table else {}), "y": target})

    return Content(
        batches=batches,
        arrays={} if is_table else {"X": tuple(features for features, _ in pairs)},
        test_rows=sum(len(labels) for _, labels in pairs[1:]),
        target="y",
        class_names=names,
    )


def _check_texts(y: NDArray[Any], y_test: NDArray[Any]) -> None:
    """Texts in both or in none, since numbers would become texts beside them; and none with NUL, where Arrow ends."""
    if (y.dtype.kind == "U") != (y_test.dtype.kind == "U"):
        raise InvalidData(Fault("y_test", "of y and y_test one has texts, the other none; give both as one type"))
    for part, labels in (("y", y), ("y_test", y_test)):
        for start in range(0, len(labels) if labels.dtype.kind == "U" else 0, _BATCH_ROWS):
            rows = np.ascontiguousarray(labels[start : start + _BATCH_ROWS])
            letters = rows.view(np.uint32).reshape(len(rows), -1)
            # At a text's end zeros fill it up to the length of the longest.
            found = np.flatnonzero(((letters[:, :-1] == 0) & (letters[:, 1:] != 0)).any(axis=1))
            if len(found):
                location = f"{part}, row {start + int(found[0]) + 1}"
                raise InvalidData(Fault(location, "a NUL character, which no text here may have; remove it"))


def _check_names(labels: NDArray[Any], names: tuple[str, ...] | None, part: str) -> None:
    if not names:
        return
    if labels.dtype.kind not in "iu":
        raise InvalidData(Fault(part, f"class_names need whole numbers here, from 0 on; these are {labels.dtype}"))
    check_labels(labels, names, part)


def _read_as(given: np.dtype[Any]) -> np.dtype[Any]:
    """One type for every batch that columns can have: of any float float64, of integers those of this machine."""
    return np.dtype(np.float64) if given.kind == "f" else given.newbyteorder("=")


def _columns(X: NDArray[Any], number: np.dtype[Any]) -> dict[str, NDArray[Any]]:
    return {f"x{position}": column for position, column in enumerate(np.ascontiguousarray(X.T, number), 1)}


def _load(path: Path, limit: int) -> Arrays:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [_name(entry) for entry in archive.infolist()]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise InvalidData(Fault(twice, "this array is given twice"))
            return {name: _unpacked(archive, name, path, limit) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError) as error:
        raise InvalidData(Fault("file", _MESSAGE)) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the file's beginning, and not a disk that is full
            raise
        raise InvalidData(Fault("file", _MESSAGE)) from error


def _name(entry: zipfile.ZipInfo) -> str:
    """The array that a member of the archive holds."""
    name = entry.filename.removesuffix(".npy")
    if name not in _PARTS:
        raise InvalidData(Fault(name, f"not expected; an NPZ here holds {', '.join(_PARTS)}"))
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _PACKED:
        raise InvalidData(Fault(name, "it is encrypted, or packed in a way that is not read here; use numpy.savez"))
    return name


def _unpacked(archive: zipfile.ZipFile, name: str, path: Path, limit: int) -> NDArray[Any]:
    """One array, decompressed beside the file and mapped, so that none has to fit into memory."""
    target = path.with_name(f"{path.name}.{name}.npy")
    left = limit
    with archive.open(f"{name}.npy") as source, target.open("wb") as sink:
        while chunk := source.read(_CHUNK):
            left -= sink.write(chunk)
            if left < 0:
                raise TooLarge(f"The array {name} is larger than {limit} bytes once it is decompressed.")
    # np.load would open what is no array, another archive say, as what it is.
    mapped: NDArray[Any] = npy.open_memmap(target, mode="r")
    return mapped


def _pair(arrays: Arrays, features: str, target: str) -> tuple[NDArray[Any], NDArray[Any]]:
    for part in (features, target):
        if part not in arrays:
            raise InvalidData(Fault(part, f"missing: {features} and {target} belong together"))
        if arrays[part].dtype.kind not in ("iufb" if part == features else "iufbU"):
            raise InvalidData(Fault(part, f"values of type {arrays[part].dtype} are not read; use numbers"))
    X, y = arrays[features], arrays[target]
    if 0 in X.shape[1:]:
        raise InvalidData(Fault(features, f"shape {list(X.shape)}: its rows have no elements"))
    if y.ndim != 1 or X.ndim < 2 or len(X) != len(y):
        raise InvalidData(
            Fault(target, f"shapes {list(X.shape)} and {list(y.shape)} do not pair rows with one value each")
        )
    return X, y
