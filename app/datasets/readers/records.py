"""Records: JSON objects, one per row, in blocks.

The columns are the keys in order of appearance. A value is a number, a text, a boolean, a list of numbers or null; an
absent key is null. Texts that are all dates or times are read as such, as in CSV. The records are walked through twice:
first for the names and types, which therefore hold for all of them, then for the values.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.bounds import BOUNDLESS, Bounds
from app.datasets.kinds import WAY_OUT, Kind
from app.datasets.literal import literal
from app.datasets.readers.content import Content
from app.datasets.readers.csv_types import TIME_TYPES, casts_to
from app.errors import Fault, InvalidData

Block = Sequence[Mapping[str, Any]]
_NAMES: dict[type, str] = {bool: "a boolean", float: "a number", str: "a text", list: "a list"}
_TYPES: dict[type, type] = {bool: bool, int: float, float: float, str: str, list: list}
_UNREADABLE = pa.struct([])
_AS_TEXT = (Kind.CATEGORICAL, Kind.IGNORE)
_PIECE_ROWS = 1024
_BATCH_CELLS = 1 << 21
_COLUMNS_IN_DOUBT, _LEAST_FILLED = 1000, 0.01
"""Beyond so many columns, of whose values so small a part is there, the keys are taken for values."""


def read(records: Block, columns: Mapping[str, Kind], bounds: Bounds = BOUNDLESS) -> Content:
    """Records that are in memory. Columns declared categorical take values of any type, as text."""
    return read_blocks(lambda: iter([records]), columns, "records", bounds)


def read_blocks(
    blocks: Callable[[], Iterable[Block]], columns: Mapping[str, Kind], location: str, bounds: Bounds = BOUNDLESS
) -> Content:
    """Records that come in blocks; `blocks` starts over at every call."""
    types = _surveyed(blocks(), columns, location, bounds)

    def batches() -> Iterator[pa.RecordBatch]:
        for block in _pieces(blocks(), max(1, _BATCH_CELLS // len(types))):
            arrays = [_array([record.get(name) for record in block], kind) for name, kind in types.items()]
            yield pa.RecordBatch.from_arrays(arrays, names=list(types))

    return Content(batches=batches)


def _pieces(blocks: Iterable[Block], rows: int) -> Iterator[Block]:
    """The blocks, cut where they have more rows than that."""
    for block in blocks:
        yield from (block[start : start + rows] for start in range(0, len(block), rows))


def _surveyed(
    blocks: Iterable[Block], declared: Mapping[str, Kind], location: str, bounds: Bounds
) -> dict[str, pa.DataType]:
    """The type of each column, from all records.

    In each piece only the keys that occur there are looked at: rows times keys may be far more than there are values.
    """
    columns: dict[str, _Column] = {}
    row = filled = 0
    for piece in _pieces(blocks, _PIECE_ROWS):
        names = dict.fromkeys(name for record in piece for name in record)
        for name in names:
            columns.setdefault(name, _Column(name, declared.get(name)))
        bounds.check_columns(len(columns))
        filled += sum(map(len, piece))
        _refuse_keys_as_values(piece, row, columns, filled)
        for name in names:
            columns[name].look([record.get(name) for record in piece], row)
        row += len(piece)
        bounds.check(row, row * sum(column.is_wanted for column in columns.values()))
    if not row:
        raise InvalidData(Fault(location, "there are no records"))
    if not columns:
        raise InvalidData(Fault(location, "the records have no columns"))
    return {name: column.type() for name, column in columns.items()}


def _refuse_keys_as_values(piece: Block, start: int, columns: Mapping[str, "_Column"], filled: int) -> None:
    """A key for each user or day, say, makes a table of nearly nothing, and of rows times columns all the same."""
    count = len(columns)
    if count <= _COLUMNS_IN_DOUBT or filled >= _LEAST_FILLED * (start + len(piece)) * count:
        return
    last = list(columns)[-1]
    row = next((row for row, record in enumerate(piece, start + 1) if last in record), start + 1)
    message = (
        f"it adds the key {literal(last)} as column {count}, and not 1 % of the columns' values are there; "
        "is a key used as a value? Then give it as the value of a column"
    )
    raise InvalidData(Fault(f"row {row}", message))


class _Column:
    """What the values of a column have turned out to be so far."""

    def __init__(self, name: str, declared: Kind | None) -> None:
        self.name = name
        self._declared = declared
        self._found: type | None = None
        self._whole = True
        self._lists: pa.DataType = pa.null()
        self._unreadable = False
        self._times = [] if declared in _AS_TEXT else list(TIME_TYPES)

    @property
    def is_wanted(self) -> bool:
        """Whether the column is kept."""
        return not self._unreadable

    def look(self, values: list[Any], start: int) -> None:
        """Take in the values of a piece whose first row is `start`."""
        present = set(map(type, values)) - {type(None)}
        if self._declared is Kind.IGNORE and present & {list, dict}:
            self._unreadable = True
        if self._unreadable:
            return
        kinds = {_TYPES.get(kind) for kind in present} | ({self._found} if self._found else set())
        if None in kinds or (len(kinds) > 1 and (list in kinds or self._declared not in _AS_TEXT)):
            self._refuse(values, start)
        self._found = self._found or next(iter(kinds), None)
        if float in present or (int in present and self._whole):
            self._whole = self._whole and float not in present and _fits(values)
        if str in present and self._times:
            texts = pa.array(values, pa.string())
            self._times = [kind for kind in self._times if casts_to(kind)(texts)]
        if list in present:
            self._look_at_lists(values, start)

    def _look_at_lists(self, values: list[Any], start: int) -> None:
        try:
            found = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            message = f"a list holds numbers, or lists of numbers; {WAY_OUT}"
            raise InvalidData(Fault(f"row {start + 1} and after, column {self.name}", message)) from error
        self._lists = _wider_list(self._lists, found.type)

    def type(self) -> pa.DataType:
        """The type that all values have; one that no kind holds where they have none, and are not wanted."""
        if self._unreadable:
            return _UNREADABLE
        if self._declared in _AS_TEXT and self._found is not None and self._found is not list:
            return pa.string()
        if self._found is float:
            return pa.int64() if self._whole else pa.float64()
        if self._found is str:
            return self._times[0] if self._times else pa.string()
        return {bool: pa.bool_(), list: self._lists}.get(self._found or float, pa.null())

    def _refuse(self, values: list[Any], start: int) -> None:
        found = self._found
        for row, value in enumerate(values, start + 1):
            if value is None:
                continue
            location, kind = f"row {row}, column {self.name}", _TYPES.get(type(value))
            if kind is None:
                what = "an object" if isinstance(value, dict) else type(value).__name__
                message = f"a value is a number, a text, a boolean, a list or null, not {what}; {WAY_OUT}"
                raise InvalidData(Fault(location, message))
            if found and kind is not found and (list in (found, kind) or self._declared not in _AS_TEXT):
                cure = WAY_OUT if list in (found, kind) else "declare the column categorical to read all as texts"
                message = (
                    f"{literal(value)} is {_NAMES[kind]}, but {_NAMES[found]} stands above it in this column; {cure}"
                )
                raise InvalidData(Fault(location, message))
            found = found or kind


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind == _UNREADABLE:
        return pa.nulls(len(values), kind)
    if kind == pa.float64():
        return pa.array([None if value is None else _float(value) for value in values], kind)
    if kind == pa.string():
        return pa.array([_text(value) for value in values], kind)
    if kind in TIME_TYPES:
        return pc.cast(pc.utf8_trim_whitespace(pa.array(values, pa.string())), kind)
    return pa.array(values, kind)


def _wider_list(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The type that holds the lists of both: whole numbers become numbers."""
    if pa.types.is_list(first) and pa.types.is_list(second):
        return pa.list_(_wider_list(first.value_type, second.value_type))
    return second if pa.types.is_null(first) or second == pa.float64() else first


def _fits(values: list[Any]) -> bool:
    return all(-(2**63) <= value < 2**63 for value in values if type(value) is int)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        # What no number holds is refused where all numbers that are too large are, with its place.
        return float("inf") if value > 0 else float("-inf")


def _text(value: Any) -> str | None:
    """A value as JSON writes it, so that 1 and true are not 1.0 and True."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)
