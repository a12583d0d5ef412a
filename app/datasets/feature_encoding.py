"""Feature encodings: how one column becomes columns of the design matrix, in training and in prediction.

A number is one column, missing values imputed by the mean of the training rows. A boolean is one column of 0
and 1, imputed alike. An array is flattened, in its own units. A category is one column for each level that
the training rows have and one more for `unknown`: a missing value or a level never seen.

All levels get a column, none is left out as reference. So the columns of a category sum to one, as the bias
does, and the matrix is short of full rank; solvers must cope (the exact one takes the solution of least
norm), and in return no level is special, whatever the penalty. Where the training rows have no missing value,
nothing could train the weight of `unknown`. There, training and validation give an unknown category the
frequencies of the levels in place of a one (the mean, as for numbers), and folding gives the column `unknown`
the very weight that has the same effect.

Rows to predict have NaN for what no training row had: a missing number where none was missing, an unseen level. So
it is known until `Encoding.imputed` puts in its place what stands for it, the mean or a one for `unknown`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.datasets.kinds import Kind, as_numbers

Matrix = NDArray[np.float64]

MOST_LEVELS = 1000
UNKNOWN, OTHER, MISSING = "unknown", "other", "missing"


@dataclass(frozen=True)
class NumericFeature:
    """A number or a boolean: one column, or two with a missing-value indicator."""

    name: str
    mean: float
    boolean: bool = False
    indicator: bool = False
    """Whether a column of its own says that the value is missing."""
    missing_trained: bool = True
    """Whether a training row has the value missing; models of before this was kept count as if."""

    kind: ClassVar[Kind] = Kind.NUMERIC

    @property
    def names(self) -> list[str]:
        """The encoded columns."""
        return [self.name, f"{self.name}={MISSING}"] if self.indicator else [self.name]

    @property
    def absent(self) -> float:
        """What a missing value is in a row to predict: the mean, or NaN where no training row missed it."""
        return self.mean if self.missing_trained else np.nan

    @property
    def stand_ins(self) -> list[float]:
        """What takes the place of NaN in each column."""
        return [self.mean] + [0.0] * self.indicator

    def encode(self, column: pa.ChunkedArray, absent: float | None = None) -> Matrix:
        """Missing values become `absent`, or else the mean. Shapes: n values → (n, 1), or (n, 2) with the indicator."""
        filled: Matrix = pc.fill_null(as_numbers(column), self.mean if absent is None else absent).to_numpy()
        return self.columns(filled, column.is_null().to_numpy()) if self.indicator else filled.reshape(-1, 1)

    def columns(self, values: NDArray[Any], missing: NDArray[Any]) -> Matrix:
        """Values that are imputed already, beside the indicator where there is one."""
        return np.column_stack([values, missing] if self.indicator else [values]).astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {"kind": self.kind.value, **asdict(self)}


@dataclass(frozen=True)
class CategoricalFeature:
    """A category: one column for each level, one for all rare ones where they are folded, and one for `unknown`."""

    name: str
    levels: tuple[str, ...]
    frequencies: tuple[float, ...]
    """The share of each level among the values that are there, and of the others where there are any."""
    unknown_trained: bool
    """Whether a training row has the value missing."""
    other: bool = False
    """Whether rare levels share a column. Then a level never seen is one of them, and `unknown` a missing value."""

    kind: ClassVar[Kind] = Kind.CATEGORICAL

    @property
    def names(self) -> list[str]:
        """The encoded columns."""
        return [f"{self.name}={level}" for level in (*self.levels, *([OTHER] if self.other else []), UNKNOWN)]

    def encode(self, column: pa.ChunkedArray) -> Matrix:
        """Shapes: n values → (n, levels + 1). An untrained `unknown` is the mean of the levels."""
        codes = self.codes(column)
        matrix = self.indicators(codes)
        if not self.unknown_trained:
            matrix[codes == len(self.frequencies)] = (*self.frequencies, 0.0)
        return matrix

    def encode_to_predict(self, column: pa.ChunkedArray | pa.Array) -> Matrix:
        """As folded weights take it: a one in a single column, NaN in `unknown` for what no training row had."""
        codes = self.codes(column)
        matrix = self.indicators(codes)
        untold = codes == len(self.frequencies)
        if self.unknown_trained:
            untold &= column.is_valid().to_numpy(zero_copy_only=False)
        matrix[untold, -1] = np.nan
        return matrix

    @property
    def stand_ins(self) -> list[float]:
        """What takes the place of NaN in each column."""
        return [0.0] * len(self.frequencies) + [1.0]

    def codes(self, column: pa.ChunkedArray | pa.Array) -> NDArray[np.int64]:
        """The position of each value among the levels; `unknown` is the last."""
        found = pc.index_in(column, value_set=pa.array(self.levels, pa.string()))
        if self.other:
            found = pc.if_else(pc.and_(pc.is_null(found), pc.is_valid(column)), len(self.levels), found)
        codes: NDArray[np.int64] = pc.fill_null(found, len(self.frequencies)).to_numpy().astype(np.int64)
        return codes

    def indicators(self, codes: NDArray[np.int64]) -> Matrix:
        """A one in the column of each code."""
        matrix = np.zeros((len(codes), len(self.frequencies) + 1))
        matrix[np.arange(len(codes)), codes] = 1.0
        return matrix

    def fold(self, weights: Matrix) -> None:
        """Give an untrained `unknown` the weight that acts as the mean level. Shapes: (levels + 1, k)."""
        if not self.unknown_trained:
            weights[-1] = np.asarray(self.frequencies) @ weights[:-1]

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {"kind": self.kind.value, **asdict(self)}


@dataclass(frozen=True)
class ArrayFeature:
    """Arrays of one shape, flattened, a column for each element. Bytes are pixels, scaled by 1/255."""

    name: str
    shape: tuple[int, ...]
    pixels: bool

    kind: ClassVar[Kind] = Kind.ARRAY

    @property
    def names(self) -> list[str]:
        """The encoded columns."""
        return element_names(self.name, self.shape)

    @property
    def width(self) -> int:
        """How many elements an array has."""
        return prod(self.shape)

    @property
    def stand_ins(self) -> list[float]:
        """What takes the place of NaN in each column; there is none."""
        return [0.0] * self.width

    def encode(self, values: NDArray[Any]) -> Matrix:
        """Shapes: (n, *shape) → (n, width), in the array's own units."""
        return values.reshape(len(values), -1).astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {"kind": self.kind.value, **asdict(self)}


def element_names(name: str, shape: tuple[int, ...]) -> list[str]:
    """The names of an array's elements, in row order: `image[0,1]`."""
    return [f"{name}[{','.join(map(str, index))}]" for index in np.ndindex(shape)]


Feature = NumericFeature | CategoricalFeature | ArrayFeature


def feature_from_json(given: dict[str, Any]) -> Feature:
    """The feature that `to_json` described."""
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    return _FROM_KIND[str(values.pop("kind"))](**values)


_FROM_KIND: Mapping[str, Callable[..., Feature]] = {
    feature.kind: feature for feature in (NumericFeature, CategoricalFeature, ArrayFeature)
}


def told_apart(names: Iterable[str], key: Callable[[str], str] = str) -> list[str]:
    """The names, each that was there before, or one of the same key, with a number behind it."""
    found: dict[str, str] = {}
    for name in names:
        told, number = name, 1
        while key(told) in found:
            number += 1
            told = f"{name} ({number})"
        found[key(told)] = told
    return list(found.values())
