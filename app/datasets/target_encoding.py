"""Target encoding: how the target becomes y. Numbers for linear, class indices for softmax regression.

Numbers are centred in float64 before they become float32 (see `offsets`): 100000001 and 100000003 are the same float32.
The centre is the median, which a few far rows do not draw away from the others. Whoever folds the weights adds it to
the bias.

The classes are those of the whole dataset, not of the training rows alone, so that a rare class that falls
into the validation rows still has an output. They stand in natural order: 2 before 10, "class 2" before
"class 10".
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.datasets.dataset import Dataset
from app.datasets.kinds import Kind, as_numbers
from app.datasets.moments import Moments
from app.datasets.offsets import offsets
from app.datasets.profile import unpredictable
from app.datasets.splitting import Part
from app.errors import Fault, InvalidSpec

MOST_CLASSES = 1000
_EXACT_INTEGERS = 2.0**53
LARGEST, LEAST_SPREAD = 1e30, 1e-30
"""What float32 holds with room for a gradient: the largest distance from the centre, and the least spread."""
MEDIAN_ROWS = 1_000_000
"""Evenly spaced rows whose median is taken where there are more: a centre has only to be near it."""


@dataclass(frozen=True)
class TargetEncoding:
    """The target's columns, and its classes where it has any.

    `centre` is what training subtracts from each column, nothing where it is empty. Models do not keep it.
    """

    columns: tuple[str, ...]
    classes: tuple[str, ...] | None
    centre: tuple[float, ...] = ()

    @classmethod
    def fit(cls, dataset: Dataset, target: str | Sequence[str] | None, model: str) -> Self:
        """Check the target against the model (`linear` or `softmax`) and learn its classes."""
        columns = _columns(dataset, target)
        if model == "linear":
            for name in columns:
                _check_number(dataset, name)
            return cls(columns, None)
        if len(columns) > 1:
            raise InvalidSpec(Fault("target", "softmax regression has one target; a list is for linear regression"))
        return cls(columns, _classes(dataset, columns[0]))

    @property
    def outputs(self) -> int:
        """How many columns the weights have: k."""
        return len(self.classes) if self.classes is not None else len(self.columns)

    def labelled(self, part: Part, name: str) -> Part:
        """The rows of a part whose target is there; the name of the part says what its rows are for."""
        present = np.ones(len(part), dtype=bool)
        for start, columns in self._blocks(part):
            for column in columns:
                if column.null_count:
                    present[start : start + len(column)] &= column.is_valid().to_numpy()
        if present.all():
            return part
        if not present.any():
            raise InvalidSpec(Fault("target", f"the target is missing in every {name} row"))
        rows = np.arange(part.rows.start, part.rows.stop) if isinstance(part.rows, slice) else part.rows
        return Part(part.dataset, rows[present])

    def centred(self, part: Part, always: bool) -> Self:
        """The same with the centre of the training rows, none of which misses its target; see `offsets`."""
        if self.classes is not None:
            return self
        moments, low, high = Moments(len(self.columns)), np.inf, -np.inf
        drawn, stride = [], -(-len(part) // MEDIAN_ROWS)
        for start, columns in self._blocks(part):
            numbers = _numbers(columns)
            moments.add(numbers)
            low, high = np.minimum(low, numbers.min(axis=0)), np.maximum(high, numbers.max(axis=0))
            drawn.append(numbers[-start % stride :: stride])
        std = np.where(low == high, 0.0, moments.std())
        for name, spread in zip(self.columns, std.tolist(), strict=True):
            if 0 < spread < LEAST_SPREAD:
                raise _out_of_range(f"the column {name!r} has a spread of {spread:.0e}; {LEAST_SPREAD:g} is the least")
        values = np.concatenate(drawn)
        median = _lower_median(values)
        distance = _lower_median(np.abs(np.subtract(values, median, out=values), out=values))
        centre = np.where(low == high, low, offsets(median, std, always, distance))
        return replace(self, centre=tuple(centre.tolist()))

    def encode(self, part: Part) -> NDArray[Any]:
        """Shapes: (n, k) float32 for linear, (n,) int32 class indices for softmax. None may be missing."""
        y: NDArray[Any] = np.empty(len(part), np.int32)
        if self.classes is None:
            y = np.empty((len(part), len(self.columns)), np.float32)
        for start, columns in self._blocks(part):
            y[start : start + len(columns[0])] = self._encoded(columns)
        return y

    def _encoded(self, columns: Sequence[pa.ChunkedArray]) -> NDArray[Any]:
        if self.classes is None:
            return self._near(_numbers(columns))
        texts = as_classes(columns[0])
        codes = pc.index_in(texts, value_set=pa.array(self.classes, pa.string()))
        if codes.null_count:
            stranger = texts.filter(codes.is_null())[0].as_py()
            raise InvalidSpec(
                Fault("validation.dataset", f"its target has the class {stranger!r}, unknown in training")
            )
        indices: NDArray[Any] = codes.to_numpy()
        return indices

    def _near(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.centre:
            numbers -= self.centre
        for name, distance in zip(self.columns, np.abs(numbers).max(axis=0, initial=0.0).tolist(), strict=True):
            if distance > LARGEST:
                raise _out_of_range(f"the column {name!r} goes {distance:.0e} from its centre; {LARGEST:g} is the most")
        return numbers

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {
            "columns": list(self.columns),
            "classes": list(self.classes) if self.classes is not None else None,
        }

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Self:
        """The target that `to_json` described."""
        return cls(tuple(given["columns"]), tuple(given["classes"]) if given["classes"] is not None else None)

    def _blocks(self, part: Part) -> Iterator[tuple[int, list[pa.ChunkedArray]]]:
        for name in self.columns:
            if part.dataset.kinds.get(name) in (None, Kind.ARRAY):
                raise InvalidSpec(Fault("validation.dataset", f"it has no column {name!r}, which is the target"))
        for start, values in part.blocks(self.columns):
            columns = [values[name] for name in self.columns]
            for name, column in zip(self.columns, columns, strict=True):
                if self.classes is None and not is_quantity(column.type):
                    message = f"its column {name!r} is {column.type}, where the target is a number"
                    raise InvalidSpec(Fault("validation.dataset", message))
            yield start, columns


def _numbers(columns: Sequence[pa.ChunkedArray]) -> NDArray[np.float64]:
    return np.column_stack([as_numbers(column).to_numpy() for column in columns])


def _lower_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """That of each column, in place: the value of a row, also where half the rows lie far from the other half."""
    return np.asarray(np.quantile(values, 0.5, axis=0, method="lower", overwrite_input=True))


def _out_of_range(message: str) -> InvalidSpec:
    return InvalidSpec(Fault("target", f"{message} that training takes. Give it in another unit"))


def is_quantity(stored: pa.DataType) -> bool:
    """Whether values of this stored type are numbers, or booleans, which count as such."""
    return stored in (pa.int64(), pa.float64(), pa.bool_())


def as_classes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Class names as text: 1 and 1.0 are "1", and 20.5 is "20.5", which is no class of a model."""
    if column.type != pa.float64():
        return column.cast(pa.string())
    is_whole = pc.and_(pc.equal(pc.floor(column), column), pc.less_equal(pc.abs(column), _EXACT_INTEGERS))
    return pc.if_else(is_whole, column.cast(pa.int64(), safe=False).cast(pa.string()), column.cast(pa.string()))


def _columns(dataset: Dataset, target: str | Sequence[str] | None) -> tuple[str, ...]:
    given = target if target is not None else dataset.description.target
    if given is not None and not given:
        raise InvalidSpec(Fault("target", "the list is empty; name the columns to predict, or leave target out"))
    if not given:
        raise InvalidSpec(Fault("target", "the dataset names no target; say which column it is"))
    columns = (given,) if isinstance(given, str) else tuple(given)
    for name in columns:
        if name not in dataset.kinds:
            message = f"there is no column {name!r}; the columns are {', '.join(list(dataset.kinds)[:20])}"
            raise InvalidSpec(Fault("target", message))
        if dataset.kinds[name] is Kind.ARRAY:
            raise InvalidSpec(Fault("target", f"the column {name!r} holds arrays, which cannot be a target"))
    if len(set(columns)) < len(columns):
        raise InvalidSpec(Fault("target", "a column is named twice"))
    return columns


def _check_number(dataset: Dataset, name: str) -> None:
    if dataset.kinds[name] not in (Kind.NUMERIC, Kind.BOOLEAN):
        about = next(column for column in dataset.description.columns if column["name"] == name)
        message = f"the column {name!r} {_nature(about)}; linear regression needs numbers"
        raise InvalidSpec(Fault("target", message))


def _nature(about: Mapping[str, Any]) -> str:
    if about["kind"] != Kind.IGNORE:
        return f"is {about['kind']}"
    return unpredictable(about) or "is declared ignore"


def _classes(dataset: Dataset, name: str) -> tuple[str, ...]:
    if dataset.description.class_names and name == dataset.description.target:
        return tuple(dataset.description.class_names)
    distinct = _distinct(dataset, name)
    if pa.types.is_timestamp(distinct.type):
        raise InvalidSpec(Fault("target", f"the column {name!r} holds date-times, which are no classes"))
    if len(distinct) > MOST_CLASSES:
        number = next(about.get("distinct", 0) for about in dataset.description.columns if about["name"] == name)
        message = f"{name!r} has {max(number, len(distinct))} distinct values, more than {MOST_CLASSES} classes"
        raise InvalidSpec(Fault("target", f"{message}. Use model linear for a quantity, or group the values first"))
    if distinct.type == pa.float64() and not _are_integers(distinct):
        message = f"the column {name!r} holds fractions, which are no classes. Use model linear, or make it text"
        raise InvalidSpec(Fault("target", message))
    found = set(as_classes(pa.chunked_array([distinct])).to_pylist())  # 0.0 and -0.0 are one
    if len(found) < 2:
        raise InvalidSpec(Fault("target", f"the column {name!r} has {len(found)} classes; there must be two or more"))
    return tuple(sorted(found, key=natural_order))


def _distinct(dataset: Dataset, name: str) -> pa.Array:
    """The distinct values of a column, or some of them once they are more than classes can be."""
    seen: pa.Array | None = None
    for _, values in Part(dataset, dataset.split("all")).blocks([name]):
        found = pc.unique(values[name].drop_null())
        seen = found if seen is None else pc.unique(pa.concat_arrays([seen, found]))
        if len(seen) > MOST_CLASSES:
            break
    return seen


def _are_integers(distinct: pa.Array) -> bool:
    values = distinct.to_numpy(zero_copy_only=False)
    return bool((np.abs(values) <= _EXACT_INTEGERS).all() and (values == np.round(values)).all())


_MOST_DIGITS = 300
"""Of a number inside a text: Python refuses to read some thousands."""


def natural_order(text: str) -> tuple[Any, ...]:
    """A sort key under which numbers inside a text count as numbers."""
    if re.fullmatch(rf"-?\d{{1,{_MOST_DIGITS}}}", text):
        return (0, int(text), text)
    parts = re.split(rf"(\d{{1,{_MOST_DIGITS}}})", text)
    return (1, [(part if number % 2 == 0 else int(part)) for number, part in enumerate(parts)], text)
