"""CSV with rows to predict: read as an upload is, but that the columns are those of the model."""

import csv as text_csv
import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from app.datasets.feature_encoding import CategoricalFeature
from app.datasets.kinds import MISSING
from app.datasets.literal import literal
from app.datasets.readers.csv_dialect import (
    DELIMITERS,
    HEAD_CHARACTERS,
    HEAD_LINES,
    CsvOptions,
    named,
    quote_of,
    table_head,
)
from app.datasets.readers.csv_encoding import text_as_utf8
from app.datasets.readers.csv_types import without_missing
from app.errors import Fault, InvalidData, InvalidInstances
from app.models.predictor import Loaded
from app.models.tabular import check_columns

_MOST_FAULTS = 10


class CsvBody:
    """The body of a request, as UTF-8, whose delimiter makes its first line the columns of a model."""

    def __init__(self, body: bytes, loaded: Loaded, options: CsvOptions) -> None:
        self._text = text_as_utf8(body, options.encoding)
        self._loaded = loaded
        self._decimal = options.decimal or "."
        head = io.StringIO(self._text[:HEAD_CHARACTERS].decode("utf-8-sig", "replace"), newline="")
        lines, self._lines_before, told = _table_head(list(islice(head, HEAD_LINES)))
        self._quote = quote_of(lines, told)
        self._delimiter, self._names = self._header(lines, told or DELIMITERS)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows with every column as text, of which each feature then reads its own."""
        texts = {feature.name for feature in self._loaded.encoding.features if isinstance(feature, CategoricalFeature)}
        numbers = [name for name in self._names if name not in texts]
        quoted, row = self._quote.encode() in self._text, 0
        try:
            with self._open() as reader:
                for batch in reader:
                    if quoted or self._decimal != ".":
                        batch = self._plain(batch, numbers, row)  # noqa: PLW2901 - the same rows
                    yield batch
                    row += len(batch)
        except pa.ArrowInvalid as error:
            raise self._fault(error) from error

    def _open(self, **parse: object) -> csv.CSVStreamingReader:
        return csv.open_csv(
            io.BytesIO(self._text),
            csv.ReadOptions(
                column_names=self._names,
                skip_rows=self._lines_before,
                skip_rows_after_names=1,
                use_threads=not parse,
            ),
            csv.ParseOptions(
                delimiter=self._delimiter,
                quote_char=self._quote,
                newlines_in_values=True,
                ignore_empty_lines=len(self._names) > 1,
                **parse,
            ),
            csv.ConvertOptions(
                column_types=dict.fromkeys(self._names, pa.string()),
                null_values=MISSING,
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    def _header(self, lines: list[str], delimiters: str) -> tuple[str, list[str]]:
        names = self._read_header(lines, delimiters[0])
        try:
            check_columns(self._loaded.encoding, names)
        except InvalidInstances:
            for delimiter in delimiters[1:]:
                with suppress(InvalidInstances):
                    others = self._read_header(lines, delimiter)
                    check_columns(self._loaded.encoding, others)
                    return delimiter, others
            raise
        return delimiters[0], names

    def _read_header(self, lines: list[str], delimiter: str) -> list[str]:
        rows = text_csv.reader(lines, delimiter=delimiter, quotechar=self._quote)
        with suppress(text_csv.Error):
            for row in rows:
                if row:
                    return named(row)
        raise _headless()

    def _plain(self, batch: pa.RecordBatch, numbers: list[str], row: int) -> pa.RecordBatch:
        """Numbers without the spellings of missing ones, which are missing in quotes too, and with a decimal point."""
        columns = {name: batch.column(name) for name in self._names}
        for name in numbers:
            columns[name] = without_missing(columns[name])
            if self._decimal != ".":
                _refuse_points(columns[name], name, row)
                columns[name] = pc.replace_substring(columns[name], self._decimal, ".")
        return pa.RecordBatch.from_pydict(columns)

    def _fault(self, error: pa.ArrowInvalid) -> InvalidInstances:
        try:
            self._text.decode()
        except UnicodeDecodeError as place:
            line = self._text.count(b"\n", 0, place.start) + 1
            return InvalidInstances(Fault(f"line {line}", "not UTF-8 text; say which encoding it has (encoding=)"))
        ragged: list[Fault] = []

        def note(row: "csv.InvalidRow") -> str:
            message = f"it has {row.actual_columns} values, but the header names {row.expected_columns} columns"
            ragged.append(Fault(f"row {row.number - 1 - self._lines_before}", message))
            return "skip"

        with suppress(pa.ArrowInvalid), self._open(invalid_row_handler=note) as reader:
            for _ in reader:
                if len(ragged) >= _MOST_FAULTS:
                    break
        message = f"it cannot be read as CSV ({str(error).splitlines()[0][:200]})"
        return InvalidInstances(ragged[:_MOST_FAULTS] or Fault("body", message))


def _table_head(lines: list[str]) -> tuple[list[str], int, str | None]:
    try:
        return table_head(lines)
    except InvalidData as error:
        raise _headless() from error


def _headless() -> InvalidInstances:
    return InvalidInstances(Fault("body", "this is no CSV with a header: there is no first line"))


def _refuse_points(column: pa.Array, name: str, before: int) -> None:
    points = pc.fill_null(pc.match_substring(column, "."), False).to_numpy(zero_copy_only=False)
    if points.any():
        row = int(points.argmax())
        message = (
            f"{literal(column[row].as_py())} has a point, where decimal=, says that a comma stands before decimals"
        )
        raise InvalidInstances(Fault(f"row {before + row + 1}, column {name}", message))
