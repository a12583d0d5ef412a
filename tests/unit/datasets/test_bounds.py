"""Bounds of a dataset."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from app.datasets.bounds import Bounds
from app.datasets.ingest import Choices, ingest
from app.datasets.readers.content import Content, table_content
from app.errors import TooLarge


def table(rows: int, columns: int) -> Content:
    return table_content(pa.table({f"x{number}": np.zeros(rows) for number in range(columns)}))


def images(rows: int) -> Content:
    labels = pa.table({"label": ["a"] * rows})
    return table_content(labels, arrays={"image": (np.zeros((rows, 4, 5), np.uint8),)})


def lists(rows: int) -> Content:
    columns = {"label": ["a"] * rows, "pixels": pa.array([[0.0] * 20] * rows, pa.list_(pa.float64()))}
    return table_content(pa.table(columns))


@pytest.mark.parametrize(
    ("content", "bounds"),
    [
        (table(10, 2), Bounds(rows=10, columns=2, cells=20)),
        (images(10), Bounds(rows=10, columns=2, cells=210)),
        (lists(10), Bounds(rows=10, columns=2, cells=210)),
    ],
)
def test_what_is_just_within_the_bounds_is_taken(tmp_path: Path, content: Content, bounds: Bounds):
    assert ingest(content, tmp_path, Choices(), bounds).rows == 10


@pytest.mark.parametrize(
    ("content", "bounds", "message"),
    [
        (table(10, 2), Bounds(rows=9), "9 rows"),
        (table(10, 2), Bounds(columns=1), "1 columns; this one has 2"),
        (table(10, 2), Bounds(cells=19), "19 values"),
        (images(10), Bounds(cells=209), "209 values"),
        (lists(10), Bounds(cells=209), "209 values"),
    ],
)
def test_what_is_beyond_them_is_refused_by_what_it_has_too_much_of(
    tmp_path: Path, content: Content, bounds: Bounds, message: str
):
    with pytest.raises(TooLarge, match=message):
        ingest(content, tmp_path, Choices(), bounds)
