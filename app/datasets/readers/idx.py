"""IDX: the files of the MNIST family. Images and labels in two files, an optional test pair in two more.

http://yann.lecun.com/exdb/mnist: two zero bytes, a type code (8 is unsigned byte), the number of dimensions,
each dimension as a big-endian 32-bit integer, then the values in row order.
"""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.datasets.readers.content import Content, check_labels, label_column, table_content
from app.datasets.readers.upload import Upload
from app.errors import Fault, InvalidData, InvalidRequest

_UNSIGNED_BYTE = 0x08
_MAX_DIMENSIONS = 8

Labelled = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def read(upload: Upload) -> Content:
    """Images and labels as one array column `image` and one categorical column `label`."""
    pairs = [_pair(upload, "images", "labels")]
    if "test_images" in upload.files or "test_labels" in upload.files:
        pairs.append(_pair(upload, "test_images", "test_labels"))
        _check_shapes(pairs)
    labels = np.concatenate([labels for _, labels in pairs])
    names = upload.class_names or tuple(str(label) for label in range(int(labels.max()) + 1))
    for (_, part), location in zip(pairs, ("labels", "test_labels"), strict=False):
        check_labels(part, names, location)
    table = pa.table({"label": label_column(labels, names)})
    return table_content(
        table,
        arrays={"image": tuple(images for images, _ in pairs)},
        test_rows=len(labels) - len(pairs[0][1]),
        target="label",
        class_names=names,
    )


def _pair(upload: Upload, images_part: str, labels_part: str) -> Labelled:
    for part in (images_part, labels_part):
        if part not in upload.files:
            raise InvalidRequest(Fault(part, f"missing: {images_part} and {labels_part} belong together"))
    images = _array(upload.plain(images_part), images_part)
    labels = _array(upload.plain(labels_part), labels_part)
    if images.ndim < 2:
        raise InvalidData(Fault(images_part, "images need two dimensions or more; these look like labels"))
    if labels.ndim != 1:
        raise InvalidData(Fault(labels_part, f"labels need one dimension, not {labels.ndim}"))
    if len(images) != len(labels):
        raise InvalidData(Fault(labels_part, f"{len(labels)} labels for {len(images)} images; the counts must agree"))
    return images, labels


def _array(path: Path, location: str) -> NDArray[np.uint8]:
    """The values of one IDX file, mapped, not read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4 + 4 * _MAX_DIMENSIONS)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise InvalidData(Fault(location, f"not an IDX file: it begins with {head[:4].hex(' ') or 'nothing'}"))
    if head[2] != _UNSIGNED_BYTE:
        raise InvalidData(Fault(location, f"IDX type 0x{head[2]:02x} is not read; only 0x08, unsigned bytes"))
    shape = _shape(head, location)
    start = 4 + 4 * len(shape)
    expected = math.prod(shape)
    if size - start != expected:
        raise InvalidData(
            Fault(
                location,
                f"its header announces {expected} bytes of values, but {max(size - start, 0)} follow",
            )
        )
    if not expected:
        raise InvalidData(Fault(location, "it holds no values"))
    return np.memmap(path, np.uint8, "r", start, shape)


def _shape(head: bytes, location: str) -> tuple[int, ...]:
    dimensions = head[3]
    if not 1 <= dimensions <= _MAX_DIMENSIONS or len(head) < 4 + 4 * dimensions:
        raise InvalidData(Fault(location, f"the IDX header is damaged: {dimensions} dimensions"))
    return tuple(int(size) for size in np.frombuffer(head, ">u4", dimensions, 4))


def _check_shapes(pairs: list[Labelled]) -> None:
    train, test = (images.shape[1:] for images, _ in pairs)
    if train != test:
        raise InvalidData(Fault("test_images", f"test images of shape {list(test)}, training images of {list(train)}"))
