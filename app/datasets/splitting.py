"""Splitting: which rows train and which validate. No row is in both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.datasets.dataset import Dataset
from app.errors import Fault, InvalidSpec

Rows = slice | NDArray[np.int64]
"""Rows of a dataset: a range, which costs no copy, or ascending positions."""


@dataclass(frozen=True)
class Part:
    """Some rows of a dataset."""

    dataset: Dataset
    rows: Rows

    def __len__(self) -> int:
        return count(self.rows)


@dataclass(frozen=True)
class Split:
    """The rows to train on and those to validate on."""

    train: Part
    validation: Part | None


def split(dataset: Dataset, validation: Mapping[str, Any] | None, seed: int, other: Dataset | None = None) -> Split:
    """Split as a job asks: `None`, `{"split": "test"}`, `{"fraction": f}`, or `other`, another dataset.

    The test split never trains. A fraction is taken from the training split, by a permutation drawn from the
    seed.
    """
    train = dataset.split("train")
    if validation is None:
        return Split(Part(dataset, train), None)
    if "dataset" in validation:
        if other is None:
            raise ValueError("the other dataset has to be opened by the caller")
        return Split(Part(dataset, train), Part(other, other.split("all")))
    if "fraction" in validation:
        training, held_out = _fraction(train, float(validation["fraction"]), seed)
        return Split(Part(dataset, training), Part(dataset, held_out))
    if not dataset.description.splits["test"]:
        message = 'the dataset has no test split; use {"fraction": 0.2}, another dataset, or null'
        raise InvalidSpec(Fault("validation.split", message))
    return Split(Part(dataset, train), Part(dataset, dataset.split("test")))


def count(rows: Rows) -> int:
    """How many rows."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def _fraction(train: slice, fraction: float, seed: int) -> tuple[Rows, Rows]:
    total = count(train)
    held_out = min(max(round(total * fraction), 1), total - 1)
    if total < 2:
        raise InvalidSpec(Fault("validation.fraction", "one row cannot be split; use null"))
    order = np.random.default_rng(seed).permutation(total) + train.start
    # In ascending order, so that reading them walks forward through the files; training shuffles anyway.
    return np.sort(order[held_out:]), np.sort(order[:held_out])
