"""Rows to predict, as each media type has them: JSON, CSV, an Arrow stream, or one NumPy array.

What comes as a stream is read and predicted in batches, so that the design matrix of a long table never exists whole.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.datasets.feature_encoding import ArrayFeature
from app.datasets.instances import encode_instances, encode_records
from app.datasets.literal import literal
from app.datasets.readers.csv_dialect import CsvOptions
from app.errors import BadRequest, Fault, InvalidInstances, InvalidRequest, TooLarge
from app.models.booleans import refuse_booleans
from app.models.csv_body import CsvBody
from app.models.explanation import rows_with_contributions
from app.models.prediction import Answer, Wish, are_finite, check, joined, predict
from app.models.predictor import Loaded
from app.models.tabular import check_columns, encode_table
from app.models.weights import Matrix

CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
NPY = "application/x-npy"
MOST_CONTRIBUTIONS = 5_000_000
"""In one reply: as JSON about 100 MB."""
MOST_FAULTS = 10
_NPY_START = 10
"""Magic, version and the length of the header, as version 1.0 of the format has them."""


def answer_rows(
    loaded: Loaded, rows: Sequence[Any] | NDArray[Any], wish: Wish, most_rows: int, may_hold_booleans: bool = True
) -> Answer:
    """Rows in feature order."""
    limit_rows(loaded, wish, len(rows), most_rows)
    check_not_empty(len(rows), "instances")
    if may_hold_booleans and not isinstance(rows, np.ndarray):
        refuse_booleans(loaded.encoding, rows)
    X = _plain(loaded, rows)
    if X is not None:
        return _in_batches(loaded, X, wish, lambda part, _: part)
    return _in_batches(loaded, rows, wish, lambda part, first: encode_instances(loaded.encoding, part, first))


def answer_records(loaded: Loaded, records: Sequence[Any], wish: Wish, most_rows: int) -> Answer:
    """Objects by column name. One that some records lack is a missing value there; one that all lack is refused."""
    limit_rows(loaded, wish, len(records), most_rows)
    check_not_empty(len(records), "records")
    seen = {name for record in records for name in record}
    absent = [feature.name for feature in loaded.encoding.features if feature.name not in seen]
    if absent:
        encode_records(loaded.encoding, records[: loaded.batch_rows])  # a misspelt column is told as such
        message = "the model needs it, and no record has it; null says that a value is missing"
        raise InvalidInstances([Fault(f"row 1, column {name}", message) for name in absent[:MOST_FAULTS]])
    return _in_batches(loaded, records, wish, lambda part, first: encode_records(loaded.encoding, part, first))


def answer_body(
    loaded: Loaded, media_type: str, body: bytes, wish: Wish, most_rows: int, dialect: CsvOptions | None = None
) -> Answer:
    """A body in one of the media types of `READERS`; how CSV is written may be said."""
    check(loaded, wish)
    if media_type == NPY:
        return answer_rows(loaded, _array(body), wish, most_rows)
    answers: list[Answer] = []
    count = 0
    is_csv = media_type == CSV
    for batch in CsvBody(body, loaded, dialect or CsvOptions()).batches() if is_csv else _arrow(body, loaded):
        limit_rows(loaded, wish, count + len(batch), most_rows)
        answers += [predict(loaded, X, wish, first) for first, X in _encoded(loaded, batch, count)]
        count += len(batch)
    check_not_empty(count, "body")
    return joined(answers)


def answer_table(loaded: Loaded, table: pa.Table, wish: Wish) -> Answer:
    """A table that is in memory already."""
    return joined([predict(loaded, X, wish, first) for first, X in _encoded(loaded, table, 0)])


def limit_rows(loaded: Loaded, wish: Wish, count: int, most_rows: int) -> None:
    """Refuse more rows than one request may have."""
    way_out = "send fewer at a time, or upload them as a dataset and use POST /models/{model}/predictions."
    if count > most_rows:
        raise TooLarge(f"A request may have {most_rows} rows; {way_out}")
    if "contributions" in wish.outputs and count > (most := rows_with_contributions(loaded, MOST_CONTRIBUTIONS)):
        raise TooLarge(f"Contributions of this model can be asked for {most} rows at a time; {way_out}")


def _in_batches(loaded: Loaded, rows: Any, wish: Wish, encode: Callable[[Any, int], NDArray[Any]]) -> Answer:
    """The answer to rows that are encoded some at a time, so that the design matrix never exists whole."""
    size = loaded.batch_rows
    if len(rows) <= size:
        return predict(loaded, encode(rows, 0), wish)
    starts = range(0, len(rows), size)
    return joined([predict(loaded, encode(rows[start : start + size], start), wish, start) for start in starts])


def check_not_empty(count: int, location: str) -> None:
    """Refuse nothing at all: it is a mistake more often than a wish."""
    if not count:
        raise InvalidRequest(Fault(location, "there are no rows; give at least one"))


def _plain(loaded: Loaded, rows: Sequence[Any] | NDArray[Any]) -> NDArray[Any] | None:
    """Rows of the right width as they are, all of them numbers; None where something needs a closer look."""
    if loaded.plain_width is None:
        return None
    try:
        values = np.asarray(rows)
    except ValueError:
        return None
    only = loaded.encoding.features[0]
    if isinstance(only, ArrayFeature) and values.shape[1:] == only.shape:
        values = values.reshape(len(values), -1)
    if values.ndim != 2 or values.shape[1] != loaded.plain_width or values.dtype.kind not in "fiu":
        return None
    if values.dtype.kind == "f":
        _check_finite(loaded, values)
    return values


def _check_finite(loaded: Loaded, values: NDArray[Any]) -> None:
    if are_finite(values):
        return
    faults, features = [], loaded.encoding.features
    for row, column in np.argwhere(~np.isfinite(values))[:MOST_FAULTS].tolist():
        if isinstance(features[0], ArrayFeature):
            name, message = (
                features[0].name,
                f"element {column + 1} is {literal(float(values[row, column]))}, not a finite number",
            )
        else:
            name, message = features[column].name, "not a finite number; use null for a missing value"
        faults.append(Fault(f"row {row + 1}, column {name}", message))
    raise InvalidInstances(faults)


def _array(body: bytes) -> NDArray[Any]:
    try:
        offset = _NPY_START + int.from_bytes(body[8:_NPY_START], "little")
        shape, by_columns, kind = _npy_header(body[:offset])
        values: NDArray[Any] = np.frombuffer(body, kind, offset=offset)
        values = values.reshape(shape, order="F" if by_columns else "C")
    except (ValueError, EOFError, TypeError, SyntaxError) as error:
        raise BadRequest("The body is no NPY file of numbers, or it is cut short; numpy.save writes one.") from error
    if values.ndim < 2 or kind.kind not in "fiubU":
        raise InvalidRequest(Fault("body", "an array of numbers with a row for each instance is needed"))
    return values


@lru_cache(maxsize=256)
def _npy_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an NPY file. Clients send the same header over and over, and parsing it is slow."""
    file = io.BytesIO(head)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("a version of NPY for structured arrays")
    shape, by_columns, kind = np.lib.format.read_array_header_1_0(file)
    if kind.hasobject:
        raise ValueError("objects, which are pickles")
    return shape, by_columns, kind


def _arrow(body: bytes, loaded: Loaded) -> Iterator[pa.RecordBatch]:
    try:
        with pa.ipc.open_stream(body) as reader:
            check_columns(loaded.encoding, reader.schema.names)
            for batch in reader:
                batch.validate(full=True)
                yield batch
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadRequest("The body is no whole Arrow stream; it is damaged or cut short.") from error


def _encoded(loaded: Loaded, batch: pa.RecordBatch | pa.Table, before: int) -> Iterator[tuple[int, Matrix]]:
    """Design matrices, each with the number of rows before it."""
    size = loaded.batch_rows
    for start in range(0, len(batch), size):
        yield before + start, encode_table(loaded.encoding, batch.slice(start, size), before + start)


READERS = (CSV, ARROW, NPY)
"""The media types that are read beside JSON."""
