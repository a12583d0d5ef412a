"""What the tests of the datasets build theirs with."""

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from app.datasets.dataset import Dataset
from app.datasets.ingest import Choices, ingest
from app.datasets.kinds import Kind
from app.datasets.readers import FORMATS, IDX
from app.datasets.readers.content import Content, table_content
from app.datasets.readers.upload import Upload

LIMIT = 1 << 28

Build = Callable[..., Dataset]
_READERS = {form.name: form.read for form in (*FORMATS, IDX)}


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Make a dataset of bytes in a format, of several parts, of columns, or of content."""
    made = 0

    def make(
        source: bytes | Mapping[str, bytes] | Content | Mapping[str, Any],
        form: str = "csv",
        target: str | None = None,
        columns: Mapping[str, str] | None = None,
        **upload: Any,
    ) -> Dataset:
        nonlocal made
        made += 1
        folder = tmp_path / str(made)
        (folder / "files").mkdir(parents=True)
        choices = Choices(target, {name: Kind(kind) for name, kind in (columns or {}).items()})
        ingest(_content(source, form, folder, choices, upload), folder / "files", choices)
        return Dataset.open(folder / "files")

    return make


def _content(source: Any, form: str, folder: Path, choices: Choices, upload: dict[str, Any]) -> Content:
    if isinstance(source, Content):
        return source
    if isinstance(source, Mapping) and not all(isinstance(part, bytes) for part in source.values()):
        return table_content(pa.table(dict(source)))
    parts = source if isinstance(source, Mapping) else {"file": source}
    for name, body in parts.items():
        (folder / name).write_bytes(body)
    files = {name: folder / name for name in parts}
    return _READERS[form](Upload(files, upload.pop("limit", LIMIT), choices.columns, **upload))


def idx(values: NDArray[Any], kind: int = 8) -> bytes:
    """An IDX file of these values."""
    head = bytes([0, 0, kind, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return head + values.astype(np.uint8).tobytes()


def images(rows: int, seed: int = 0) -> dict[str, bytes]:
    """A small image set: images of 3 × 2 and labels from 0 to 2."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (rows, 3, 2))
    return {"images": idx(pixels), "labels": gzip.compress(idx(np.arange(rows) % 3))}
