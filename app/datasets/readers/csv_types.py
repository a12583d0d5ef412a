"""The types of a CSV file's columns, found from every value and not from the head of the file."""

import re
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.kinds import MISSING

TIME_TYPES = (
    pa.date32(),
    *(pa.timestamp("us", zone) for zone in (None, "UTC")),
    *(pa.timestamp("ns", zone) for zone in (None, "UTC")),
)
"""How text may be a date or a time, from narrow to wide."""
_BOOLEANS = pa.array(["true", "True", "TRUE", "false", "False", "FALSE"])
_MISSING = pa.array(MISSING)
# From narrow to wide, in the order in which pyarrow tries them.
_TYPES = (pa.int64(), pa.bool_(), *TIME_TYPES, pa.float64())

# pyarrow alone takes these for whole numbers, and the larger half of them for negative ones. One pattern for each
# letter, because those that begin with two letters are found the fastest.
_HEXADECIMAL = {
    letter: re.compile(rb"0%s(?<![0-9A-Za-z]..)[0-9A-Fa-f]{1,16}(?=[^0-9A-Za-z])" % letter) for letter in (b"x", b"X")
}


def may_be_hexadecimal(text: bytes) -> bool:
    """Whether a value in a piece of a file could be hexadecimal; a letter that is not there is found out fast."""
    return any(letter in text and pattern.search(text) is not None for letter, pattern in _HEXADECIMAL.items())


def survey(batches: Iterable[pa.RecordBatch], names: Sequence[str], decimal: str) -> dict[str, pa.DataType]:
    """The narrowest type that all values of each column have, text where no other does.

    What spells a missing value in spite of quotes says nothing of the type, unless there is nothing else.
    """
    possible = {name: list(_TYPES) for name in names}
    filled, quoted = set(), set()
    for batch in batches:
        for name, types in possible.items():
            column = without_missing(batch.column(name))
            if column.null_count > batch.column(name).null_count:
                quoted.add(name)
            if column.null_count < len(column):
                filled.add(name)
                types[:] = [kind for kind in types if _reads_as(column, kind, decimal)]
    # Nothing but missing values in quotes: somebody meant these texts.
    texts = dict.fromkeys(quoted - filled, pa.string())
    return {name: _narrowest(types, name in filled) for name, types in possible.items()} | texts


def without_missing(column: pa.Array) -> pa.Array:
    """Texts with null in place of those that spell a missing value."""
    spelled = pc.is_in(column, _MISSING)
    return pc.if_else(spelled, None, column) if pc.any(spelled).as_py() else column


def casts_to(kind: pa.DataType, decimal: str = ".") -> Callable[[pa.Array], bool]:
    """A test whether every text of a column reads as a value of `kind`."""

    def test(column: pa.Array) -> bool:
        # As the reader does: no other space is trimmed, and none around a time.
        texts = column if pa.types.is_timestamp(kind) else pc.utf8_trim(column, " \t")
        if decimal != "." and kind == pa.float64():
            if pc.any(pc.match_substring(texts, ".")).as_py():
                return False
            texts = pc.replace_substring(texts, decimal, ".")
        try:
            pc.cast(texts, kind)
        except pa.ArrowInvalid:
            return False
        return kind != pa.int64() or not _is_any_hexadecimal(texts)

    return test


def _is_any_hexadecimal(whole: pa.Array) -> bool:
    return any(pc.any(pc.match_substring(whole, letter)).as_py() for letter in "xX")


def _reads_as(column: pa.Array, kind: pa.DataType, decimal: str) -> bool:
    if kind == pa.bool_():
        return bool(pc.all(pc.is_in(column.drop_null(), _BOOLEANS)).as_py())
    return casts_to(kind, decimal)(column)


def _narrowest(types: Sequence[pa.DataType], filled: bool) -> pa.DataType:
    if not filled:
        return pa.null()
    return types[0] if types else pa.string()
