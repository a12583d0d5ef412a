"""CSV: read block by block by pyarrow, with types that hold for the whole file.

The types of the first block are a guess. Where a later value proves it wrong, one more pass reads the whole
file as text and finds the narrowest type that every value of a column has; then the conversion starts over.
Where a value could be hexadecimal, that pass is the first.
When a file cannot be read at all, `csv_faults` finds the rows and columns to blame.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from app.cores import cores
from app.datasets.kinds import MISSING, Kind
from app.datasets.readers.content import Content, TypesChanged
from app.datasets.readers.csv_dialect import Dialect, recognised
from app.datasets.readers.csv_faults import ROW_BYTES, TOO_LONG, CsvFaults
from app.datasets.readers.csv_types import survey
from app.datasets.readers.upload import Upload
from app.errors import Fault, InvalidData

BLOCK_BYTES = ROW_BYTES
THREADS = min(4, cores())
COLUMNS_AT_ONCE = 4000
"""pyarrow holds some 10 KB for each column that it converts; a wide piece is split into values more than once."""

_TEXTS = (pa.string(), pa.null())
_NUMBERS = (pa.int64(), pa.null(), pa.float64())
# Text for booleans too, because more spellings of yes and no are taken where a column is declared to be one.
_READ_AS_TEXT = (Kind.CATEGORICAL, Kind.BOOLEAN)


def read(upload: Upload) -> Content:
    """A CSV file, with or without a header line."""
    found = recognised(upload.plain(), upload.csv, upload.unpacked_limit_bytes)
    upload.bounds.check_columns(len(found.names))
    table = CsvTable(found.path, found.dialect, found.names, upload.columns, found.lines_before)
    kinds = {found.index: Kind.IGNORE} if found.index is not None else {}
    return Content(batches=table.batches, format=found.dialect.to_json(), kinds=kinds, padded=found.padded)


class CsvTable:
    """One CSV file in UTF-8, whose rows come in typed batches."""

    def __init__(
        self, path: Path, dialect: Dialect, names: list[str], columns: Mapping[str, Kind], lines_before: int = 0
    ) -> None:
        self.path = path
        self.lines_before = lines_before
        self.dialect = dialect
        self.names = names
        self._types = {name: pa.string() for name in names if columns.get(name) in _READ_AS_TEXT}
        # Numbers that are declared get the type that is inferred, if it is one of numbers: whole ones may be large.
        self._numbers = {name for name, kind in columns.items() if kind is Kind.NUMERIC}
        self._no_texts = self._numbers | {name for name, kind in columns.items() if kind is Kind.BOOLEAN}
        self._surveyed = False
        self._is_plain = False
        self._is_plain, self._may_be_hexadecimal = CsvFaults(self).check_bytes()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in order. Raises `TypesChanged` once at most, when the guessed types were too narrow."""
        try:
            if self._may_be_hexadecimal and not self._surveyed:
                self._survey()
            for batch in self._read_plain() if self._is_plain else self._read_quoted():
                _refuse_bytes(batch.schema)
                yield batch
        except pa.ArrowInvalid as error:
            self._widen_or_raise(str(error))
            raise TypesChanged from error

    def _read_quoted(self) -> Iterator[pa.RecordBatch]:
        """A text in quotes is what it is; in any other column "" and "NA" in quotes are missing values.

        pyarrow knows one rule for all columns, hence a reader for each; both cut the file into the same blocks.
        """
        types: Mapping[str, pa.DataType] = self._types
        if not self._surveyed:
            inferred: dict[str, pa.DataType] = {}
            for some in self._some_names():
                with self.open(types, only=some, blank_quotes=True) as reader:
                    inferred |= {field.name: field.type for field in reader.schema}
            types = self._kept(inferred)
        # Where all is missing so far, what is in quotes could be texts: it is refused, and all values decide.
        texts = [name for name in self.names if types[name] in _TEXTS and name not in self._no_texts]
        others = [name for name in self.names if name not in texts]
        with ExitStack() as stack:
            readers = [
                stack.enter_context(self.open(types, only=names, blank_quotes=names is others))
                for names in (texts, others)
                if names
            ]
            for parts in zip(*readers, strict=True):
                columns = {field.name: part.column(field.name) for part in parts for field in part.schema}
                yield pa.RecordBatch.from_pydict({name: columns[name] for name in self.names})

    def _read_plain(self) -> Iterator[pa.RecordBatch]:
        """Where nothing is quoted every line is a row: pieces of the file are parsed side by side, in their order."""
        pieces = self._pieces()
        head = next(pieces)
        first = self._parsed(head, self._types, True)
        inferred = {field.name: field.type for field in first.schema}
        types = self._kept(inferred)
        if types != inferred:
            first = self._parsed(head, types, True)
        yield from first.to_batches()
        ahead: deque[Future[pa.Table]] = deque()
        pool = ThreadPoolExecutor(THREADS)
        try:
            for piece in pieces:
                ahead.append(pool.submit(self._parsed, piece, types, False))
                if len(ahead) >= THREADS:
                    yield from ahead.popleft().result().to_batches()
            while ahead:
                yield from ahead.popleft().result().to_batches()
        finally:
            pool.shutdown(cancel_futures=True)

    def _kept(self, inferred: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
        """The types that are inferred, but for times of day: 12:30 is not spelt 12:30:00 where it is predicted."""
        texts = {name: pa.string() for name, kind in inferred.items() if pa.types.is_time(kind)}
        numbers = {name: pa.float64() for name in self._numbers if inferred.get(name, pa.null()) not in _NUMBERS}
        return {**inferred, **texts, **numbers}

    def _pieces(self) -> Iterator[bytes]:
        """The lines of the file in pieces, without those at its end that are nothing."""
        for number, piece in enumerate(whole_lines(self.path, BLOCK_BYTES)):
            if not number or len(self.names) == 1 or piece.strip(b"\r\n"):
                yield piece

    def _parsed(self, piece: bytes, types: Mapping[str, pa.DataType], at_start: bool) -> pa.Table:
        """The rows of a piece as one block: a thread that parses all of it shares nothing, and there is no copying."""
        reading = self._reading(at_start, False)
        reading.block_size = len(piece) + 1
        columns: list[pa.ChunkedArray] = []
        for some in self._some_names():
            known = {name: types[name] for name in some if name in types}
            converting = self._converting(known, some)
            columns += csv.read_csv(pa.BufferReader(piece), reading, self._parsing(False), converting).columns
        return pa.table(columns, self.names)

    def _some_names(self) -> Iterator[list[str]]:
        """The columns, as many at a time as are converted at once."""
        for start in range(0, len(self.names), COLUMNS_AT_ONCE):
            yield self.names[start : start + COLUMNS_AT_ONCE]

    def _widen_or_raise(self, reason: str) -> None:
        """Find the types that hold for the whole file; if that was done before, or is in vain, tell the fault."""
        try:
            CsvFaults(self).raise_structure(reason)
            if self._surveyed:
                CsvFaults(self).raise_conversion(self._types, reason)
            self._survey()
        except pa.ArrowInvalid as error:
            CsvFaults(self).raise_structure(str(error))
            message = f"it cannot be read as CSV ({str(error).splitlines()[0][:200]}); are the quotes right?"
            raise InvalidData(Fault("file", message)) from error

    def _survey(self) -> None:
        self._types = self._kept(survey(self.text_batches(), self.names, self.dialect.decimal)) | self._types
        self._surveyed = True

    def text_batches(
        self, kind: pa.DataType | None = None, threads: bool = True, **parse: object
    ) -> Iterator[pa.RecordBatch]:
        """The rows with every value as it stands in the file, missing ones as null."""
        with self.open(dict.fromkeys(self.names, kind or pa.string()), threads, (), False, **parse) as reader:
            yield from reader

    def open(
        self,
        types: Mapping[str, pa.DataType],
        threads: bool = True,
        only: Sequence[str] = (),
        blank_quotes: bool = False,
        **parse: object,
    ) -> csv.CSVStreamingReader:
        """A streaming reader of all columns, or some, with these types; others have those of the first block."""
        return csv.open_csv(
            self.path,
            self._reading(True, threads),
            self._parsing(not self._is_plain, **parse),
            self._converting(types, only, blank_quotes),
        )

    def _reading(self, at_start: bool, threads: bool) -> csv.ReadOptions:
        return csv.ReadOptions(
            block_size=BLOCK_BYTES,
            use_threads=threads,
            column_names=self.names,
            skip_rows=self.lines_before if at_start else 0,
            skip_rows_after_names=int(self.dialect.header and at_start),
        )

    def _parsing(self, quoted: bool, **more: object) -> csv.ParseOptions:
        return csv.ParseOptions(
            delimiter=self.dialect.delimiter,
            quote_char=self.dialect.quote_character or False,
            newlines_in_values=quoted,
            # With one column an empty line is a missing value, with more it is nothing.
            ignore_empty_lines=len(self.names) > 1,
            **more,
        )

    def _converting(
        self, types: Mapping[str, pa.DataType], only: Sequence[str] = (), blank_quotes: bool = False
    ) -> csv.ConvertOptions:
        return csv.ConvertOptions(
            column_types=types,
            include_columns=list(only),
            null_values=MISSING,
            strings_can_be_null=True,
            quoted_strings_can_be_null=blank_quotes,
            decimal_point=self.dialect.decimal,
            true_values=["true", "True", "TRUE"],
            false_values=["false", "False", "FALSE"],
        )


def whole_lines(path: Path, size: int) -> Iterator[bytes]:
    """A file in pieces of about `size` bytes that end where a line does."""
    rest = b""
    with path.open("rb") as file:
        while chunk := file.read(size):
            end = chunk.rfind(b"\n") + 1
            if end:
                yield rest + chunk[:end]
                rest = chunk[end:]
            else:
                rest += chunk
                if len(rest) > size + BLOCK_BYTES:
                    raise pa.ArrowInvalid(TOO_LONG)
    if rest:
        yield rest


def _refuse_bytes(schema: pa.Schema) -> None:
    """What is no UTF-8 is read as bytes when types are inferred; as text it is an error with a place."""
    if any(pa.types.is_binary(field.type) for field in schema):
        raise pa.ArrowInvalid("invalid UTF8 data")
