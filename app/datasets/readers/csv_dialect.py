"""The dialect of a CSV file: encoding, delimiter, quote, and whether its first line names the columns.

What the client does not say is found in the head of the file. Where that head can be read in two ways, nothing is
guessed: the file is refused with the option that decides.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from itertools import islice, zip_longest
from math import isfinite
from pathlib import Path
from typing import Any

from app.datasets.kinds import MISSING
from app.datasets.readers.csv_encoding import NOT_UTF8, as_utf8
from app.errors import Fault, InvalidData

NO_QUOTE = "none"
SPELLED = {"tab": "\t", "space": " "}
HEAD_CHARACTERS = 2 << 20
LONGER = "longer than 2 MiB, the most that is read; shorten it, or close the quote if one is left open"
HEAD_LINES = 1000
_HEAD_ROWS = 100
DELIMITERS = ",;\t|"
_QUOTES = "\"'"
_PADDED = re.compile(r"[ \t]*[-+]?0\d+[ \t]*")
_NOT_WITHIN_NUMBER = re.compile(r"(?<!\d),|,(?!\d)")
_TOLD = re.compile(r"(?i)sep=([^\w\"'])")
"""What Excel writes, and reads, as a first line that is no row."""


@dataclass(frozen=True)
class CsvOptions:
    """What a client says about a CSV file; what is None is found in the file."""

    delimiter: str | None = None
    quote: str | None = None
    encoding: str | None = None
    header: bool | None = None
    decimal: str | None = None


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written; its text is UTF-8 by the time that it is parsed."""

    delimiter: str
    quote: str
    encoding: str
    header: bool
    decimal: str = "."

    @property
    def quote_character(self) -> str | None:
        """The quote, or None where values are not quoted."""
        return None if self.quote == NO_QUOTE else self.quote

    def to_json(self) -> dict[str, Any]:
        """What was effective."""
        return asdict(self)


@dataclass(frozen=True)
class Recognised:
    """A CSV file as UTF-8 text, with what its head says of it."""

    path: Path
    dialect: Dialect
    names: list[str]
    """The names of its columns."""
    lines_before: int = 0
    """How many lines stand before the table: blank ones, and one that tells a spreadsheet the delimiter."""
    index: str | None = None
    """The column that many programs write first and without a name: the numbers of the rows."""
    padded: frozenset[str] = frozenset()
    """The columns with numbers that begin with zeros, as far as the first rows tell."""


def recognised(path: Path, options: CsvOptions, limit: int) -> Recognised:
    """What the head of the file says."""
    text_path, encoding = as_utf8(path, options.encoding, limit)
    head, before, told = table_head(_head(text_path))
    if len(head) == 1 and not head[0].endswith(("\r", "\n")) and text_path.stat().st_size > HEAD_CHARACTERS:
        raise InvalidData(Fault("file", f"its first row is {LONGER}"))
    known = SPELLED.get(options.delimiter or "", options.delimiter) or told
    quote = options.quote or quote_of(head, known)
    quoted_by = None if quote == NO_QUOTE else quote
    delimiter = known or _delimiter(head, quoted_by, options.decimal)
    rows = _rows(head, delimiter, quoted_by)
    if not rows[0]:
        raise InvalidData(Fault("file", "its first row is empty; it is no text"))
    header = _has_header(rows) if options.header is None else options.header
    names = named(rows[0]) if header else [f"x{number}" for number in range(1, len(rows[0]) + 1)]
    if header:
        _check_names(rows[0], names)
    dialect = Dialect(delimiter, quote, encoding, header, options.decimal or ".")
    index = names[0] if header and len(names) > 1 and not rows[0][0].strip() else None
    return Recognised(text_path, dialect, names, before, index, _padded(rows[header:], names))


def _padded(rows: Sequence[Sequence[str]], names: Sequence[str]) -> frozenset[str]:
    columns = zip(names, zip_longest(*rows, fillvalue=""), strict=False)
    return frozenset(name for name, cells in columns if any(map(_PADDED.fullmatch, cells)))


def _head(path: Path) -> list[str]:
    """The first lines, blank ones too."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        head = file.read(HEAD_CHARACTERS)
    if not head.strip():
        raise InvalidData(Fault("file", "the file is empty"))
    return list(islice(StringIO(head, newline=""), HEAD_LINES))


def table_head(lines: list[str]) -> tuple[list[str], int, str | None]:
    """The lines from the first of the table on, how many stand before it, and the delimiter that they tell."""
    blank = next((number for number, line in enumerate(lines) if line.strip("\r\n")), len(lines))
    if blank == len(lines):
        raise InvalidData(Fault("file", f"its first {blank} lines are blank"))
    told = _TOLD.fullmatch(lines[blank].rstrip("\r\n"))
    before = blank + (told is not None)
    while before < len(lines) and not lines[before].strip("\r\n"):
        before += 1
    if before == len(lines):
        raise InvalidData(Fault("file", "there is no row in it"))
    return lines[before:], before, told[1] if told else None


def named(header: Sequence[str]) -> list[str]:
    """The names of a header. An unnamed column that is the first, or has none but such after it, gets its number."""
    last = max((position for position, name in enumerate(header) if name.strip()), default=-1)
    return [
        name if name.strip() or 0 < position < last or last < 0 else f"column{position + 1}"
        for position, name in enumerate(header)
    ]


def _rows(head: Sequence[str], delimiter: str, quote: str | None) -> list[list[str]]:
    lines = (line.replace("\0", "") for line in head)
    csv.field_size_limit(HEAD_CHARACTERS)
    try:
        reader = csv.reader(
            lines, delimiter=delimiter, quotechar=quote, quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
        )
        return [row for row in islice(reader, _HEAD_ROWS) if row] or [[]]
    except csv.Error as error:
        raise InvalidData(Fault("file", f"its first row is {LONGER}")) from error


def quote_of(head: Sequence[str], delimiter: str | None = None) -> str:
    """The quote that most values both begin and end with; the double one where none does.

    One at an end alone is an apostrophe or an inch, and what stands within the other quote is text.
    """
    if not any("'" in line for line in head):
        return '"'
    edge = re.escape(DELIMITERS + "\r\n" + (delimiter or ""))
    within = "|".join(f"{quote}[^{quote}]*+(?:{quote * 2}[^{quote}]*+)*+{quote}" for quote in _QUOTES)
    found = Counter(match[0] for match in re.findall(f"(?<![^{edge}])(?:{within})(?![^{edge}])", "".join(head)))
    return "'" if found["'"] > found['"'] else '"'


def _delimiter(head: Sequence[str], quote: str | None, decimal: str | None) -> str:
    """The delimiter under which most rows have as many values as the first one, and the most of them.

    The decimal mark is one only where no other makes columns; a comma that could be that mark, where none fits as well.
    """
    rows = {mark: _rows(head, mark, quote) for mark in DELIMITERS}
    fitness = {mark: _fitness(rows[mark]) for mark in DELIMITERS}
    best = max(DELIMITERS, key=fitness.__getitem__)
    other = max((mark for mark in DELIMITERS if mark not in (best, decimal)), key=fitness.__getitem__)
    if fitness[other][1] < 2:
        # Where there is one column alone, the decimal mark is no delimiter.
        return other if best == decimal and fitness[best][1] < 2 else best
    as_good = fitness[other][0] == fitness[best][0]
    could_be_decimal = best == "," and decimal is None and as_good and _are_within_numbers(rows[other])
    return other if best == decimal or could_be_decimal else best


def _fitness(rows: Sequence[Sequence[str]]) -> tuple[float, int]:
    width = len(rows[0])
    agreeing = sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0
    return round(agreeing, 1), width


def _are_within_numbers(rows: Sequence[Sequence[str]]) -> bool:
    """Whether commas stand between digits alone; those of the first row may be in names."""
    return not any(_NOT_WITHIN_NUMBER.search(cell) for row in rows[1:] or rows for cell in row)


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row holds names. Numbers in it speak against that, unless they could be names."""
    first, below = rows[0], rows[1:]
    telling = [cell for cell in first if _is_telling(cell)]
    numbers = [cell for cell in telling if _is_number(cell)]
    if not numbers:
        return True
    if not _could_be_names(numbers):
        return False
    texts_above_numbers = any(
        cell.strip() and not _is_number(cell) and all(_is_number(value) for value in values)
        for position, cell in enumerate(first)
        if _is_telling(cell)
        if (values := [row[position] for row in below if position < len(row) and row[position] not in MISSING])
    )
    if texts_above_numbers:
        return True
    if len(numbers) == len(telling) and not _are_consecutive(numbers):
        return False
    message = "the first line could hold column names or values; say header=true or header=false"
    if not below:
        message += ". There is one line alone: curl -d leaves line ends out, and --data-binary keeps them"
    raise InvalidData(Fault("header", message))


def _is_telling(cell: str) -> bool:
    """Whether a cell could tell names from values: a missing value and an infinity, as they are spelt, may be both."""
    return not cell or (cell not in MISSING and not (_is_number(cell) and not isfinite(_number(cell))))


def _could_be_names(numbers: Sequence[str]) -> bool:
    return len(set(numbers)) == len(numbers) and all(cell.strip().isdecimal() for cell in numbers)


def _are_consecutive(numbers: Sequence[str]) -> bool:
    """0, 1, 2, …: what programs write above columns that have no names."""
    start = int(numbers[0])
    return [int(number) for number in numbers] == list(range(start, start + len(numbers))) and len(numbers) > 1


def _check_names(header: Sequence[str], names: Sequence[str]) -> None:
    seen: set[str] = set()
    for position, name in enumerate(names, 1):
        if not _is_utf8(name):
            raise InvalidData(Fault(f"header, column {position}", NOT_UTF8))
        if not name.strip():
            message = "the column has no name; give it one, or say header=false if the first line holds values"
            raise InvalidData(Fault(f"header, column {position}", message))
        if name in seen:
            raise InvalidData(Fault(f"header, column {position}", f"two columns are named {name!r}; rename one"))
        seen.add(name)
    telling = [name for name in header if _is_telling(name)]
    numbers = [name for name in telling if _is_number(name)]
    if numbers and numbers == telling and not (_could_be_names(numbers) and _are_consecutive(numbers)):
        message = "the first line holds numbers where the column names belong; say header=false if it has none"
        raise InvalidData(Fault("header", message))


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return False
    return "_" not in text  # which Python takes within a number, and no CSV reader does


def _number(text: str) -> float:
    """Its value, with a decimal point or a comma: names have neither."""
    return float(text.replace(",", ".", 1))
