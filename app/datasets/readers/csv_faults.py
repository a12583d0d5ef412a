"""Faults of a CSV file that could not be read, found by reading it again as text, and slowly."""

import codecs
import csv as text_csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from app.datasets.literal import literal
from app.datasets.readers.csv_dialect import LONGER
from app.datasets.readers.csv_encoding import NOT_UTF8
from app.datasets.readers.csv_types import casts_to, may_be_hexadecimal, without_missing
from app.errors import Fault, InvalidData

if TYPE_CHECKING:
    from app.datasets.readers.csv import CsvTable

_MOST = 10
"""How many faults are reported at once."""
_CHUNK = 4 << 20
_LONGEST_HEXADECIMAL = len(" 0x") + 16
ROW_BYTES = 2 << 20
"""No row may be longer."""
TOO_LONG = "straddling object"
_NO_ROWS = "Empty CSV file"
_NOT_TEXT = "invalid UTF8"
_RAGGED = "Expected "
_NO_COMMENTS = "lines of comment are not read, take them out"
_NO_TEXT = "the file is no text, or its encoding has to be said (encoding=utf-16-le)"


class CsvFaults:
    """Names the rows and columns of a CSV file that are at fault."""

    def __init__(self, table: "CsvTable") -> None:
        self._table = table

    def check_bytes(self) -> tuple[bool, bool]:
        """Refuse what pyarrow lets pass: NUL bytes, and a quote that is opened and never closed.

        Says whether nothing is quoted below the header in the first line, so that every line is a row; and whether
        a value could be hexadecimal.
        """
        path, has_header = self._table.path, self._table.dialect.header
        newlines, in_first_line = False, 0
        hexadecimal, end = False, b""
        quote, quotes = self._table.dialect.quote_character, 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                if b"\0" in chunk:
                    self._raise_first(lambda value: b"\0" in value, f"a NUL byte; {_NO_TEXT}")
                if not newlines and b"\n" in chunk:
                    newlines = True
                    in_first_line = quotes + (chunk[: chunk.index(b"\n")].count(quote.encode()) if quote else 0)
                quotes += chunk.count(quote.encode()) if quote else 0
                hexadecimal = hexadecimal or may_be_hexadecimal(end + chunk)
                end = chunk[-_LONGEST_HEXADECIMAL:]
        hexadecimal = hexadecimal or may_be_hexadecimal(end + b"\n")
        # An odd number need not be a fault (a size in inches), but an open quote always makes it odd.
        if quote and quotes % 2:
            _check_quotes(path, self._table.dialect.delimiter, quote, int(not has_header) - self._table.lines_before)
        return newlines and quotes == (in_first_line if has_header else 0), hexadecimal

    def raise_structure(self, reason: str) -> None:
        """Raise if the file is no table of UTF-8 text at all."""
        # A header that no line follows is a row that was cut off, to pyarrow.
        if _NO_ROWS in reason or (TOO_LONG in reason and self._table.path.stat().st_size <= ROW_BYTES):
            raise InvalidData(Fault("file", "there are column names but no rows"))
        if TOO_LONG in reason:
            raise InvalidData(Fault("file", f"one row is {LONGER}"))
        if _RAGGED in reason:
            self._check_text()
            raise InvalidData(list(self._ragged()) or Fault("file", "its rows differ in length"))
        if _NOT_TEXT in reason:
            self._raise_first(_is_not_utf8, NOT_UTF8)

    def _check_text(self) -> None:
        """Refuse what is no UTF-8: the rows of a text that is read in the wrong encoding may differ in length."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        with self._table.path.open("rb") as file:
            try:
                while chunk := file.read(_CHUNK):
                    decoder.decode(chunk)
                decoder.decode(b"", True)
            except UnicodeDecodeError:
                self._raise_first_line(_is_not_utf8, NOT_UTF8)

    def raise_conversion(self, types: Mapping[str, pa.DataType], reason: str) -> None:
        """Raise for the values that are not of the type their column has been declared to be of."""
        faults = list(self._unconvertible(types))
        raise InvalidData(faults or Fault("file", f"the values do not fit their columns ({reason})"))

    def _ragged(self) -> Iterator[Fault]:
        found = []

        def note(row: "pa.csv.InvalidRow") -> str:
            found.append((row.number, row.actual_columns, row.text))
            return "skip"

        for _ in self._table.text_batches(pa.binary(), threads=False, invalid_row_handler=note):
            if len(found) >= _MOST:
                break
        width, header = len(self._table.names), self._table.dialect.header
        if header and found and self._table.names[0].startswith("#"):
            message = "the first line begins with # and names other columns than the rows have"
            yield Fault("header", f"{message}; {_NO_COMMENTS}")
            return
        says = "the header names" if header else "the first row has"
        for number, actual, text in found[:_MOST]:
            hint = f"; {_NO_COMMENTS}" if text.startswith("#") else ""
            # The header is a row to pyarrow, as is each line before it; the first row of data is row 1 to people.
            yield Fault(
                f"row {number - header - self._table.lines_before}",
                f"it has {actual} values, but {says} {width} columns{hint}",
            )

    def _unconvertible(self, types: Mapping[str, pa.DataType]) -> Iterator[Fault]:
        start = found = 0
        for batch in self._table.text_batches():
            for name, kind in types.items():
                for row, value in _misfits(without_missing(batch.column(name)), kind, self._table.dialect.decimal):
                    yield Fault(
                        f"row {start + row + 1}, column {name}",
                        f"{literal(value)} is not {_WORDS.get(kind, kind)}",
                    )
                    found += 1
                    if found >= _MOST:
                        return
            start += len(batch)

    def _raise_first(self, is_bad: Callable[[bytes], bool], message: str) -> None:
        start = 0
        with suppress(pa.ArrowInvalid):  # rows that differ in length have no columns to name
            for batch in self._table.text_batches(pa.binary()):
                for name in self._table.names:
                    for row, value in enumerate(batch.column(name).to_pylist()):
                        if value is not None and is_bad(value):
                            raise InvalidData(Fault(f"row {start + row + 1}, column {name}", message))
                start += len(batch)
        self._raise_first_line(is_bad, message)

    def _raise_first_line(self, is_bad: Callable[[bytes], bool], message: str) -> None:
        with self._table.path.open("rb") as file:
            number = next((number for number, line in enumerate(file, 1) if is_bad(line)), 1)
        raise InvalidData(Fault(f"line {number}" if number > 1 else "header", message))


_WORDS = {pa.float64(): "a number", pa.int64(): "a whole number"}


def _misfits(column: pa.Array, kind: pa.DataType, decimal: str) -> Iterator[tuple[int, str]]:
    fits = casts_to(kind, decimal)
    if kind == pa.string() or fits(column):
        return
    for row, value in enumerate(column.to_pylist()):
        if value is not None and not fits(pa.array([value])):
            yield row, value


def _check_quotes(path: Path, delimiter: str, quote: str, first: int) -> None:
    row = first
    text_csv.field_size_limit(_CHUNK)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = text_csv.reader(
            (line.replace("\0", "") for line in file), delimiter=delimiter, quotechar=quote, strict=True
        )
        try:
            for _ in reader:
                row += 1
        except text_csv.Error as error:
            if "unexpected end" in str(error) or "field larger" in str(error):
                message = "a quote is opened in this row and never closed"
                raise InvalidData(Fault(f"row {row}", message)) from error


def _is_not_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return True
    return False
