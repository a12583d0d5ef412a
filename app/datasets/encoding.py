"""Encoding: a table's columns become the matrix X, the same in training and in prediction.

It is fitted on the training rows alone and is part of the model. The raw design matrix has numbers in their
own units, ones and zeros for categories, and pixels from 0 to 255. Training sees it moved and scaled, (raw −
centre) / scale; `fold` turns the weights that training found into weights that act on the raw design matrix.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from app.datasets.dataset import Dataset
from app.datasets.feature_encoding import (
    ArrayFeature,
    CategoricalFeature,
    Feature,
    Matrix,
    NumericFeature,
    feature_from_json,
    told_apart,
)
from app.datasets.feature_statistics import (
    ArrayStatistics,
    CategoryStatistics,
    FeatureStatistics,
    NumberStatistics,
)
from app.datasets.kinds import Kind
from app.datasets.splitting import Part, Rows, count
from app.datasets.target_encoding import TargetEncoding
from app.errors import Fault, InvalidSpec

PIXEL_LEVELS = 255.0
MOST_MISFITS = 10
"""Columns that are told at once not to fit."""


class Design(NamedTuple):
    """What training takes: the features are X · scale."""

    X: NDArray[Any]
    scale: float


@dataclass(frozen=True)
class Encoding:
    """The features of a model, its target, and what training subtracted and divided by (None where it did not)."""

    features: tuple[Feature, ...]
    target: TargetEncoding
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @classmethod
    def fit(
        cls,
        part: Part,
        features: Sequence[str] | None,
        target: TargetEncoding,
        standardize: bool,
        max_categories: int | None = None,
        missing_indicator: bool = False,
        centre: bool = False,
    ) -> Self:
        """Learn from training rows in one pass. Without `features`, every usable column but the target is one."""
        names = chosen_features(part.dataset, features, target.columns)
        learned = [_statistics(part.dataset, name, standardize, max_categories, missing_indicator) for name in names]
        # An array that is not standardised teaches nothing, so its values need not be read.
        read = [name for name in names if standardize or part.dataset.kinds[name] is not Kind.ARRAY]
        for _, values in part.blocks(read) if read else ():
            for statistics in learned:
                if statistics.name in values:
                    statistics.add(values[statistics.name])
        fitted = tuple(statistics.feature() for statistics in learned)
        if not standardize:
            # Centred all the same, where `centre` asks for it or an offset would cost a column its digits.
            plain, offsets = cls(fitted, target), np.concatenate([each.offsets(centre) for each in learned])
            return (
                replace(plain, mean=tuple(offsets.tolist()), std=tuple(plain.scale.tolist()))
                if offsets.any()
                else plain
            )
        mean, std = (np.concatenate(each) for each in zip(*(each.mean_and_std() for each in learned), strict=True))
        # A constant column carries nothing: it becomes zero, and its weight is never scaled up.
        std[std <= 1e-12 * np.maximum(np.abs(mean), 1e-300)] = 1.0
        return cls(fitted, target, tuple(mean.tolist()), tuple(std.tolist()))

    @cached_property
    def names(self) -> list[str]:
        """The columns of the design matrix: d of them.

        No two are called alike: a level that is really called "unknown" leaves "town=unknown (2)" to the unseen ones.
        """
        return told_apart(name for feature in self.features for name in feature.names)

    @cached_property
    def centre(self) -> Matrix:
        """What training subtracts from each column."""
        return np.zeros(len(self.names)) if self.mean is None else np.asarray(self.mean)

    @cached_property
    def scale(self) -> Matrix:
        """What training divides each column by: its standard deviation, or 255 for pixels, or 1."""
        if self.std is not None:
            return np.asarray(self.std)
        widths = [(len(feature.names), _unit(feature)) for feature in self.features]
        return np.concatenate([np.full(width, unit) for width, unit in widths])

    def matrix(self, part: Part) -> Design:
        """The matrix for training, in memory; pixels are not copied. Shapes: (n, d), float32 or uint8."""
        pixels = self.pixels(part)
        if pixels is not None:
            return Design(np.ascontiguousarray(pixels), 1.0 / PIXEL_LEVELS)
        X = np.empty((len(part), len(self.names)), np.float32)
        for start, block in self.blocks(part):
            X[start : start + len(block)] = block
        return Design(X, 1.0)

    def pixels(self, part: Part) -> NDArray[np.uint8] | None:
        """Where the only feature is images as they are: their rows, a view of the dataset's file if possible."""
        self._check_columns(part.dataset)
        if not self.are_pixels:
            return None
        pixels = _rows_of(part.dataset.array(self.features[0].name), part.rows)
        return pixels.reshape(len(pixels), -1)

    @property
    def are_pixels(self) -> bool:
        """Whether the matrix is bytes, scaled by the trainer."""
        only = self.features[0]
        return len(self.features) == 1 and isinstance(only, ArrayFeature) and only.pixels and self.std is None

    def blocks(self, part: Part) -> Iterator[tuple[int, NDArray[Any]]]:
        """The matrix in blocks of rows, each with its first row. Shapes: (m, d), float32 or uint8."""
        self._check_columns(part.dataset)
        for start, values in part.blocks([feature.name for feature in self.features], len(self.names)):
            if self.are_pixels:
                yield start, values[self.features[0].name].reshape(-1, len(self.names))
                continue
            raw = np.hstack([feature.encode(values[feature.name]) for feature in self.features])
            # In float64 until the last step: differences of large raw values do not survive float32.
            raw -= self.centre
            raw /= self.scale
            yield start, raw.astype(np.float32)

    def imputed(self, X: Matrix) -> tuple[Matrix, NDArray[np.bool_]]:
        """Rows to predict without NaN, and which of them had one: a value that no training row had.

        Shapes:  (n, d) → (n, d), (n,)
        """
        strange: NDArray[np.bool_] = np.isnan(X)
        stand_ins = np.concatenate([feature.stand_ins for feature in self.features])
        return np.where(strange, stand_ins, X), np.asarray(strange.any(axis=1))

    def targets(self, part: Part) -> NDArray[Any]:
        """The targets y of the rows of a part."""
        return self.target.encode(part)

    def fold(self, weights: NDArray[Any], bias: NDArray[Any]) -> tuple[Matrix, Matrix]:
        """Weights (d, k) and bias (k,) that act on raw columns as the given ones act on the trained ones."""
        weights, bias = self.fold_features(weights, bias)
        return weights, bias + np.asarray(self.target.centre or 0.0)

    def fold_features(self, weights: NDArray[Any], bias: NDArray[Any]) -> tuple[Matrix, Matrix]:
        """The linear part of `fold`: the target stays centred."""
        folded = np.asarray(weights, np.float64) / self.scale[:, None]
        folded_bias = np.asarray(bias, np.float64) - self.centre @ folded
        start = 0
        for feature in self.features:
            stop = start + len(feature.names)
            if isinstance(feature, CategoricalFeature):
                feature.fold(folded[start:stop])
            start = stop
        return folded, folded_bias

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON takes it; floats survive exactly."""
        return {
            "features": [feature.to_json() for feature in self.features],
            "target": self.target.to_json(),
            "mean": list(self.mean) if self.mean is not None else None,
            "std": list(self.std) if self.std is not None else None,
        }

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Self:
        """The encoding that `to_json` described."""
        mean, std = (tuple(given[key]) if given[key] is not None else None for key in ("mean", "std"))
        features = tuple(feature_from_json(feature) for feature in given["features"])
        return cls(features, TargetEncoding.from_json(given["target"]), mean, std)

    def misfits(self, dataset: Dataset) -> list[Fault]:
        """The columns that another dataset than the one it was fitted on lacks, or has as another kind."""
        return [
            Fault("dataset", message) for feature in self.features if (message := _misfit(feature, dataset)) is not None
        ][:MOST_MISFITS]

    def _check_columns(self, dataset: Dataset) -> None:
        if faults := self.misfits(dataset):
            raise InvalidSpec(faults)


def _misfit(feature: Feature, dataset: Dataset) -> str | None:
    kind = dataset.kinds.get(feature.name)
    fitting = (feature.kind, Kind.BOOLEAN) if isinstance(feature, NumericFeature) else (feature.kind,)
    if kind not in fitting:
        return f"its column {feature.name!r} is {kind or 'absent'}; the model takes it as {feature.kind}"
    if isinstance(feature, ArrayFeature) and (shape := dataset.shape(feature.name)) != feature.shape:
        return f"its arrays {feature.name!r} are {list(shape)}, not {list(feature.shape)}"
    return None


def chosen_features(dataset: Dataset, features: Sequence[str] | None, target: Sequence[str]) -> list[str]:
    """The feature columns of a job: those asked for, checked; else all but target and ignored ones."""
    usable = [name for name, kind in dataset.kinds.items() if kind is not Kind.IGNORE and name not in target]
    chosen = usable if features is None else list(features)
    faults = [Fault("features", _objection(dataset, name, target)) for name in chosen if name not in usable]
    if len(set(chosen)) < len(chosen):
        faults.append(Fault("features", "a column is named twice"))
    if faults or not chosen:
        raise InvalidSpec(faults or Fault("features", "there is no column to learn from"))
    return chosen


def check_options(
    dataset: Dataset, features: Sequence[str], max_categories: int | None, missing_indicator: bool
) -> None:
    """Options of an encoding that would have no effect on these columns are refused."""
    kinds = {dataset.kinds[name] for name in features}
    if max_categories is not None and Kind.CATEGORICAL not in kinds:
        raise InvalidSpec(Fault("max_categories", "no feature is a category"))
    if missing_indicator and not kinds & {Kind.NUMERIC, Kind.BOOLEAN}:
        raise InvalidSpec(Fault("missing_indicator", "no feature is a number or a boolean"))


def standardize_by_default(dataset: Dataset) -> bool:
    """Tables are standardised; synthetic data and images are not, as in the chapter's experiments."""
    return dataset.description.truth is None and Kind.ARRAY not in dataset.kinds.values()


def _objection(dataset: Dataset, name: str, target: Sequence[str]) -> str:
    if name in target:
        return f"{name!r} is the target; it cannot be a feature too"
    if name in dataset.kinds:
        return f"the column {name!r} is of kind ignore; upload the data with another kind declared in columns"
    return f"there is no column {name!r}; the columns are {', '.join(list(dataset.kinds)[:20])}"


def _statistics(
    dataset: Dataset, name: str, standardize: bool, max_categories: int | None, missing_indicator: bool
) -> FeatureStatistics:
    kind = dataset.kinds[name]
    if kind is Kind.ARRAY:
        array = dataset.array(name)
        return ArrayStatistics(ArrayFeature(name, array.shape[1:], array.dtype == np.uint8), standardize)
    if kind is Kind.CATEGORICAL:
        return CategoryStatistics(name, max_categories)
    return NumberStatistics(name, kind is Kind.BOOLEAN, missing_indicator)


def _rows_of(array: NDArray[Any], rows: Rows) -> NDArray[Any]:
    return array[rows] if count(rows) < len(array) else array


def _unit(feature: Feature) -> float:
    return PIXEL_LEVELS if isinstance(feature, ArrayFeature) and feature.pixels else 1.0
