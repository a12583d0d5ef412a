"""The dialect of a CSV file: encoding, delimiter, quote, and whether its first line names the columns.

What the client does not say is found in the head of the file. Where that head can be read in two ways, nothing is
guessed: the file is refused with the option that decides.
"""

import codecs
import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from app.errors import Fault, InvalidData, InvalidRequest, TooLarge

NO_QUOTE = "none"
SPELLED = {"tab": "\t", "space": " "}
HEAD_CHARACTERS = 2 << 20
_HEAD_LINES = 1000
_HEAD_ROWS = 100
_CHUNK = 1 << 20
_DELIMITERS = ",;\t|"
_QUOTES = "\"'"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ENCODINGS = frozenset(
    codecs.lookup(name).name
    for name in (
        *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ascii", "mac-roman", "koi8-r"),
        *(f"iso-8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)),
        *(f"windows-{page}" for page in (1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258)),
        *("cp437", "cp850", "shift_jis", "cp932", "euc-jp", "gbk", "gb18030", "big5", "euc-kr"),
    )
)


@dataclass(frozen=True)
class CsvOptions:
    """What a client says about a CSV file; what is None is found in the file."""

    delimiter: str | None = None
    quote: str | None = None
    encoding: str | None = None
    header: bool | None = None


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written; its text is UTF-8 by the time that it is parsed."""

    delimiter: str
    quote: str
    encoding: str
    header: bool

    @property
    def quote_character(self) -> str | None:
        """The quote, or None where values are not quoted."""
        return None if self.quote == NO_QUOTE else self.quote

    def to_json(self) -> dict[str, Any]:
        """What was effective."""
        return asdict(self)


def recognised(path: Path, options: CsvOptions, limit: int) -> tuple[Path, Dialect, list[str]]:
    """The file as UTF-8 text, its dialect, and the names of its columns."""
    encoding = _encoding(path, options.encoding)
    text_path = path if encoding in ("utf-8", "ascii") else _transcoded(path, encoding, limit)
    head = _head(text_path)
    quote = options.quote or _quote(head)
    quoted_by = None if quote == NO_QUOTE else quote
    delimiter = SPELLED.get(options.delimiter or "", options.delimiter) or _delimiter(head, quoted_by)
    rows = _rows(head, delimiter, quoted_by)
    header = _has_header(rows) if options.header is None else options.header
    if header:
        _check_names(rows[0])
        names = rows[0]
    else:
        names = [f"x{number}" for number in range(1, len(rows[0]) + 1)]
    return text_path, Dialect(delimiter, quote, encoding, header), names


def _encoding(path: Path, declared: str | None) -> str:
    """The codec that is declared, else the one of the byte order mark, else UTF-8."""
    if declared is None:
        with path.open("rb") as file:
            head = file.read(4)
        return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
    try:
        name = codecs.lookup(declared).name
    except LookupError:
        name = ""
    if name not in _ENCODINGS:
        known = ", ".join(sorted(_ENCODINGS))
        raise InvalidRequest(Fault("encoding", f"{declared!r} is not read here; the encodings are {known}"))
    return "utf-8" if name == "utf-8-sig" else name


def _transcoded(path: Path, encoding: str, limit: int) -> Path:
    """A copy in UTF-8 beside the file, written piece by piece."""
    target = path.with_name(path.name + ".utf8")
    decoder = codecs.getincrementaldecoder(encoding)()
    line, written = 1, 0
    with path.open("rb") as source, target.open("wb") as sink:
        while chunk := source.read(_CHUNK):
            text = _decoded(decoder, chunk, line)
            line += text.count("\n")
            written += sink.write(text.encode())
            if written > limit:
                raise TooLarge(f"file is larger than {limit} bytes as UTF-8.")
        sink.write(_decoded(decoder, b"", line, final=True).encode())
    return target


def _decoded(decoder: codecs.IncrementalDecoder, chunk: bytes, line: int, final: bool = False) -> str:
    try:
        return decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        at = line + error.object[: error.start].decode(error.encoding, "replace").count("\n")
        message = f"not {error.encoding} text; say which encoding it has"
        raise InvalidData(Fault(f"line {at}", message)) from error


def _head(path: Path) -> list[str]:
    """The first lines."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        head = file.read(HEAD_CHARACTERS).lstrip("\r\n")
    if not head.strip():
        raise InvalidData(Fault("file", "the file is empty"))
    return list(islice(StringIO(head, newline=""), _HEAD_LINES))


def _rows(head: Sequence[str], delimiter: str, quote: str | None) -> list[list[str]]:
    lines = (line.replace("\0", "") for line in head)
    csv.field_size_limit(HEAD_CHARACTERS)
    try:
        reader = csv.reader(
            lines, delimiter=delimiter, quotechar=quote, quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
        )
        return [row for row in islice(reader, _HEAD_ROWS) if row] or [[]]
    except csv.Error as error:
        raise InvalidData(Fault("file", "its first row is longer than 2 MiB; is a quote left open?")) from error


def _quote(head: Sequence[str]) -> str:
    """The quote that values begin with; the double one where none does."""
    lines = [line.rstrip("\r\n") for line in head]
    edges = {quote: sum(line.startswith(quote) + line.endswith(quote) for line in lines) for quote in _QUOTES}
    inner = {quote: sum(f"{quote}{mark}{quote}" in line for line in lines for mark in _DELIMITERS) for quote in _QUOTES}
    return "'" if edges["'"] + inner["'"] > edges['"'] + inner['"'] else '"'


def _delimiter(head: Sequence[str], quote: str | None) -> str:
    """The delimiter under which most rows have as many values as the first one, and the most of them."""

    def fitness(delimiter: str) -> tuple[float, int]:
        rows = _rows(head, delimiter, quote)
        width = len(rows[0])
        agreeing = sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0
        return round(agreeing, 1), width

    return max(_DELIMITERS, key=fitness)


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row holds names. Numbers in it speak against that, unless they could be names."""
    first, below = rows[0], rows[1:]
    numbers = [cell for cell in first if _is_number(cell)]
    if not numbers:
        return True
    if not _could_be_names(numbers):
        return False
    texts_above_numbers = any(
        cell.strip() and not _is_number(cell) and any(values) and all(_is_number(value) for value in values if value)
        for position, cell in enumerate(first)
        if (values := [row[position] for row in below if position < len(row)])
    )
    if texts_above_numbers:
        return True
    if len(numbers) == len(first) and not _are_consecutive(numbers):
        return False
    message = "the first line could hold column names or values; say header=true or header=false"
    raise InvalidData(Fault("header", message))


def _could_be_names(numbers: Sequence[str]) -> bool:
    return len(set(numbers)) == len(numbers) and all(cell.strip().isdecimal() for cell in numbers)


def _are_consecutive(numbers: Sequence[str]) -> bool:
    """0, 1, 2, …: what programs write above columns that have no names."""
    start = int(numbers[0])
    return [int(number) for number in numbers] == list(range(start, start + len(numbers))) and len(numbers) > 1


def _check_names(names: Sequence[str]) -> None:
    for position, name in enumerate(names, 1):
        if not _is_utf8(name):
            raise InvalidData(Fault(f"header, column {position}", "not UTF-8 text; say which encoding it has"))
        if not name.strip():
            raise InvalidData(Fault(f"header, column {position}", "the column has no name"))
        if name in names[: position - 1]:
            raise InvalidData(Fault(f"header, column {position}", f"two columns are named {name!r}"))
    if all(_is_number(name) for name in names) and not (_could_be_names(names) and _are_consecutive(names)):
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
        float(text)
    except ValueError:
        return False
    return True
