"""Scanning: a dataset as design matrices, some rows at a time, so that one larger than memory can be predicted."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from app.datasets.dataset import Dataset
from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import CategoricalFeature, Feature, Matrix, NumericFeature
from app.datasets.splitting import Part
from app.errors import InvalidRequest

NARROWEST, WIDEST = 64, 16_384
"""Blocks are cut as if a row became so many numbers at least and at most: into 65 536 to 256 rows."""


class Block:
    """Some successive rows of a dataset: their design matrix, and the columns that were asked for beside it."""

    def __init__(self, first_row: int, X: Matrix, extra: pa.Table) -> None:
        self.first_row = first_row
        self.X = X
        self.extra = extra

    def __len__(self) -> int:
        return len(self.X)


def check(encoding: Encoding, dataset: Dataset) -> None:
    """Refuse a dataset that lacks a column of the model, or has it as another kind."""
    if faults := encoding.misfits(dataset):
        raise InvalidRequest(faults)


def scan(encoding: Encoding, dataset: Dataset, rows: slice, extra: Sequence[str] = ()) -> Iterator[Block]:
    """The rows of a range in order, block by block."""
    names = dict.fromkeys([*(feature.name for feature in encoding.features), *extra])
    width = min(max(len(encoding.names), NARROWEST), WIDEST)
    for first, columns in Part(dataset, rows).blocks(list(names), width):
        blocks = [_encoded(feature, columns[feature.name]) for feature in encoding.features]
        X = np.hstack(blocks) if len(blocks) > 1 else blocks[0]
        yield Block(first, X, pa.table({name: columns[name] for name in extra}))


def _encoded(feature: Feature, values: Any) -> Matrix:
    """As /predict has it: NaN is a value that no training row had, and categories suit folded weights."""
    if isinstance(feature, CategoricalFeature):
        return feature.encode_to_predict(values)
    if isinstance(feature, NumericFeature):
        return feature.encode(values, feature.absent)
    return feature.encode(values)
