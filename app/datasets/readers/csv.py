"""CSV: read block by block by pyarrow, with types that hold for the whole file.

The types of the first block are a guess. Where a later value proves it wrong, one more pass reads the whole
file as text and finds the narrowest type that every value of a column has; then the conversion starts over.
When a file cannot be read at all, `csv_faults` finds the rows and columns to blame.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from app.datasets.kinds import MISSING, Kind
from app.datasets.readers.content import Content, TypesChanged
from app.datasets.readers.csv_dialect import Dialect, recognised
from app.datasets.readers.csv_faults import CsvFaults
from app.datasets.readers.csv_types import survey
from app.datasets.readers.upload import Upload

BLOCK_BYTES = 4 << 20
_DECLARED: Mapping[Kind, pa.DataType] = {
    Kind.NUMERIC: pa.float64(),
    Kind.CATEGORICAL: pa.string(),
    # Read as text, because more spellings of yes and no are taken when a column is declared boolean.
    Kind.BOOLEAN: pa.string(),
}


def read(upload: Upload) -> Content:
    """A CSV file, with or without a header line."""
    path, dialect, names = recognised(upload.plain(), upload.csv, upload.unpacked_limit_bytes)
    table = CsvTable(path, dialect, names, upload.columns)
    return Content(batches=table.batches, format=dialect.to_json())


class CsvTable:
    """One CSV file in UTF-8, whose rows come in typed batches."""

    def __init__(self, path: Path, dialect: Dialect, names: list[str], columns: Mapping[str, Kind]) -> None:
        self._path = path
        self.dialect = dialect
        self.names = names
        declared = {name: _DECLARED[kind] for name, kind in columns.items() if kind in _DECLARED}
        self._types: dict[str, pa.DataType] = {name: kind for name, kind in declared.items() if name in self.names}
        self._surveyed = False
        CsvFaults(self).check_bytes(path)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in order. Raises `TypesChanged` once at most, when the guessed types were too narrow."""
        try:
            with self.open(self._types) as reader:
                _refuse_bytes(reader.schema)
                yield from reader
        except pa.ArrowInvalid as error:
            CsvFaults(self).raise_structure(str(error))
            if self._surveyed:
                CsvFaults(self).raise_conversion(self._types, str(error))
            self._widen()
            raise TypesChanged from error

    def _widen(self) -> None:
        """Find the types that hold for the whole file."""
        self._surveyed = True
        undeclared = [name for name in self.names if name not in self._types]
        try:
            self._types |= survey(self.text_batches(), undeclared)
        except pa.ArrowInvalid as error:
            CsvFaults(self).raise_structure(str(error))
            raise

    def text_batches(
        self, kind: pa.DataType | None = None, threads: bool = True, **parse: object
    ) -> Iterator[pa.RecordBatch]:
        """The rows with every value as it stands in the file, missing ones as null."""
        with self.open(dict.fromkeys(self.names, kind or pa.string()), threads, **parse) as reader:
            yield from reader

    def open(self, types: Mapping[str, pa.DataType], threads: bool = True, **parse: object) -> csv.CSVStreamingReader:
        """A streaming reader with these types; the types of other columns come from the first block."""
        return csv.open_csv(
            self._path,
            csv.ReadOptions(
                block_size=BLOCK_BYTES, use_threads=threads, column_names=None if self.dialect.header else self.names
            ),
            csv.ParseOptions(
                delimiter=self.dialect.delimiter,
                quote_char=self.dialect.quote_character or False,
                newlines_in_values=True,
                # With one column an empty line is a missing value, with more it is nothing.
                ignore_empty_lines=len(self.names) > 1,
                **parse,
            ),
            csv.ConvertOptions(
                column_types=types,
                null_values=MISSING,
                strings_can_be_null=True,
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
            ),
        )


def _refuse_bytes(schema: pa.Schema) -> None:
    """What is no UTF-8 is read as bytes when types are inferred; as text it is an error with a place."""
    if any(pa.types.is_binary(field.type) for field in schema):
        raise pa.ArrowInvalid("invalid UTF8 data")
