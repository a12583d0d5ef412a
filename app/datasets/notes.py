"""Notes: what a client should know of a column that may not be what it seems.

Texts like numbers, dates, and numbers that may be names.
"""

import re
from collections.abc import Sequence
from typing import Any

from app.datasets.kinds import Kind
from app.datasets.number_profile import EXACT_INTEGERS
from app.datasets.profile import holds_dates

MOST_LOOKED_AT = 20
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_GROUPED = r"[-+]?\d{1,3}(?:[,.'\s]\d{3})*(?:[.,]\d+)?"
_LONGEST_NAME = 1e20
_SWAPPED = str.maketrans(".,", ",.")
"""What numbers with a decimal comma look like to who expects a point."""
_KEPT = "and are kept as texts"
_LOOKS = (
    (r"[-+]?\d{1,3}(?:[,'\s]\d{3})+(?:\.\d+)?", f"with separated thousands, {_KEPT}; write them without separators"),
    (r"[-+]?(?:\d+|\d{1,3}(?:\.\d{3})+),\d+", f"with a decimal {{mark}}, {_KEPT}; {{decimal}}"),
    (rf"(?:{_NUMBER}|{_GROUPED})\s?%", f"with a percent sign, {_KEPT}; write them without it"),
    (rf"[$€£¥]\s?{_GROUPED}|{_GROUPED}\s?[$€£¥]", f"with a currency, {_KEPT}; write them without it"),
)
DATES = "dates are no features; declare it categorical, or write it as a number, such as days since a first one"
MANY_DIGITS = (
    "its whole numbers have more digits than a number holds, and may become equal; declare it categorical if they are "
    "names"
)
ZEROS = "zeros before its numbers are lost; declare it categorical if they are names, such as 00123"
SPACES = "its name and its values could be columns between spaces; delimiter=space reads them as such"
UNNAMED = (
    "it has no name, is taken for the numbers of the rows, and is no feature unless columns declares it another kind"
)


def note(column: dict[str, Any], is_csv: bool, decimal: str = ".", is_padded: bool = False) -> str | None:
    """What there is to say of a profiled column whose kind nobody declared.

    `decimal` is the mark it was read with; one that `is_padded` has numbers that begin with zeros.
    """
    if holds_dates(column):
        return DATES
    if is_padded and column["kind"] == Kind.NUMERIC:
        return ZEROS
    if _has_many_digits(column):
        return MANY_DIGITS
    if column["kind"] != Kind.CATEGORICAL or "categories" not in column:
        return None
    levels = [str(entry["value"]).strip() for entry in column["categories"]]
    if not any(map(str.isdigit, "".join(levels[:2]))):
        return None
    return _of_texts(levels, is_csv, decimal) or (SPACES if is_csv and _are_columns(column["name"], levels) else None)


def _has_many_digits(column: dict[str, Any]) -> bool:
    """Whether a whole number is beyond what a float tells apart; of floats all, so that they are no mere quantities."""
    if column["kind"] != Kind.NUMERIC or "max" not in column:
        return False
    low, high = column["min"], column["max"]
    if isinstance(low, int):
        return bool(max(-low, high) > EXACT_INTEGERS)
    return bool(low > EXACT_INTEGERS and high < _LONGEST_NAME and column["distinct"] > 1)


def _are_columns(name: str, levels: Sequence[str]) -> bool:
    """Whether every value is as many numbers between spaces as the name has words."""
    width = len(name.strip().split(" "))
    numbers = re.compile(rf"{_NUMBER}(?: {_NUMBER}){{{width - 1}}}")
    return width > 1 and all(numbers.fullmatch(level) for level in levels[:MOST_LOOKED_AT])


def _decimals(is_csv: bool, decimal: str) -> dict[str, str]:
    if decimal == ",":
        return {"mark": "point", "decimal": "write them with a comma"}
    return {"mark": "comma", "decimal": "decimal=, reads them as numbers" if is_csv else "write them with a point"}


def _of_texts(levels: Sequence[str], is_csv: bool, decimal: str) -> str | None:
    if decimal == ",":
        levels = [level.translate(_SWAPPED) for level in levels]
    looked_at = levels[:MOST_LOOKED_AT]
    plain = {level for level in looked_at if re.fullmatch(_NUMBER, level)}
    for pattern, message in _LOOKS:
        alike = sum(re.fullmatch(pattern, level) is not None for level in looked_at if level not in plain)
        if alike and alike + len(plain) >= 0.9 * len(looked_at):
            return f"its values look like numbers {message.format(**_decimals(is_csv, decimal))}"
    if len(plain) < 0.75 * len(looked_at):
        return None
    stranger = next((level for level in levels if not re.fullmatch(_NUMBER, level)), None)
    if stranger is None:
        return None if is_csv else "its values are numbers written as texts; declare it numeric to read them as numbers"
    said = (stranger.translate(_SWAPPED) if decimal == "," else stranger)[:40]
    return f"most of its values are numbers, but {said!r} is not; leave it empty if it says that one is missing"
