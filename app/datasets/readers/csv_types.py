"""The types of a CSV file's columns, found from every value and not from the head of the file."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

TIME_TYPES = (pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"))
"""How text may be a date or a time, from narrow to wide."""
_BOOLEANS = pa.array(["true", "True", "TRUE", "false", "False", "FALSE"])


def survey(batches: Iterable[pa.RecordBatch], names: Sequence[str]) -> dict[str, pa.DataType]:
    """The narrowest type that all values of each column have, text where no other does."""
    possible = {name: list(_TESTS) for name in names}
    filled = dict.fromkeys(names, False)
    for batch in batches:
        for name, types in possible.items():
            column = batch.column(name)
            if column.null_count < len(column):
                filled[name] = True
                types[:] = [kind for kind in types if _TESTS[kind](column)]
    return {name: _narrowest(types, filled[name]) for name, types in possible.items()}


def casts_to(kind: pa.DataType) -> Callable[[pa.Array], bool]:
    """A test whether every text of a column reads as a value of `kind`."""

    def test(column: pa.Array) -> bool:
        try:
            pc.cast(pc.utf8_trim_whitespace(column), kind)
        except pa.ArrowInvalid:
            return False
        return True

    return test


def _are_booleans(column: pa.Array) -> bool:
    return bool(pc.all(pc.is_in(column.drop_null(), _BOOLEANS)).as_py())


# From narrow to wide, in the order in which pyarrow tries them.
_TESTS: Mapping[pa.DataType, Callable[[pa.Array], bool]] = {
    pa.int64(): casts_to(pa.int64()),
    pa.bool_(): _are_booleans,
    **{kind: casts_to(kind) for kind in TIME_TYPES},
    pa.float64(): casts_to(pa.float64()),
}


def _narrowest(types: Sequence[pa.DataType], filled: bool) -> pa.DataType:
    if not filled:
        return pa.null()
    return types[0] if types else pa.string()
