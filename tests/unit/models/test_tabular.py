"""Tables to predict: categories are spelt as the upload spelt them, whatever type they come as."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import CategoricalFeature, NumericFeature
from app.datasets.instances import encode_records
from app.datasets.target_encoding import TargetEncoding
from app.errors import InvalidInstances
from app.models import tabular
from app.models.tabular import encode_table


def encoding(*levels: str) -> Encoding:
    feature = CategoricalFeature("c", levels, (1 / len(levels),) * len(levels), unknown_trained=True)
    return Encoding((feature,), TargetEncoding(("y",), None))


@pytest.mark.parametrize("column", [
    pa.array([Decimal("1.00"), Decimal("2.00"), None], pa.decimal128(5, 2)), pa.array([1.0, 2.0, None]),
    pa.array([1.0, 2.0, None], pa.float32()), pa.array([1, 2, None], pa.uint64()), pa.array([1, 2, None], pa.int8()),
    pa.array(["1", "2", None]),
], ids=lambda column: str(column.type))  # fmt: skip
def test_a_whole_number_is_its_level_whatever_type_it_has(column: pa.Array) -> None:
    assert encode_table(encoding("1", "2"), pa.table({"c": column})).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("kind", [pa.dictionary(pa.int8(), pa.string()), pa.string_view()], ids=str)
def test_texts_that_stand_once_for_many_rows_are_not_spread_without_a_bound(
    kind: pa.DataType, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"c": pa.array(["a text of many characters"] * 100 + ["1"]).cast(kind)})
    assert encode_table(encoding("1"), table).shape == (101, 2)
    assert encode_table(encoding("1"), table.slice(0, 0)).shape == (0, 2)

    monkeypatch.setattr(tabular, "MOST_TEXT_BYTES", 1000)

    with pytest.raises(InvalidInstances, match="send fewer rows"):
        encode_table(encoding("1"), table)


@pytest.mark.parametrize("level", ["1000000000000000", "1e+15"], ids=["of whole numbers", "of numbers"])
@pytest.mark.parametrize("column", [
    pa.array([1e15]), pa.array([10**15], pa.uint64()), pa.array([Decimal(10**15)], pa.decimal128(20, 2)),
], ids=lambda column: str(column.type))  # fmt: skip
def test_a_large_whole_number_is_its_level_however_it_was_spelt(level: str, column: pa.Array) -> None:
    assert encode_table(encoding(level), pa.table({"c": column})).tolist() == [[1, 0]]


@pytest.mark.parametrize("level", ["1000000000000000", "1e+15"], ids=["of whole numbers", "of numbers"])
@pytest.mark.parametrize("value", [10**15, 1e15])
def test_so_it_is_in_json(level: str, value: Any) -> None:
    assert encode_records(encoding(level), [{"c": value}]).tolist() == [[1, 0]]
    rows, strange = encoding(level).imputed(encode_records(encoding(level), [{"c": 10**400}]))
    assert (rows.tolist(), strange.tolist()) == ([[0, 1]], [True])


@pytest.mark.parametrize("value", [1, 1.0])
def test_a_text_with_a_point_is_a_level_of_whole_numbers_too(value: float) -> None:
    """As a dataset of JSON has it, or of CSV whose column is declared categorical."""
    assert encode_records(encoding("1.0", "x"), [{"c": value}]).tolist() == [[1, 0, 0]]
    assert encode_table(encoding("1.0", "x"), pa.table({"c": pa.array([float(value)])})).tolist() == [[1, 0, 0]]


def test_times_of_day_are_texts() -> None:
    column = pa.array([12 * 3600], pa.time32("s"))
    assert encode_table(encoding("12:00:00"), pa.table({"c": column})).tolist() == [[1, 0]]


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint16(), pa.uint64(), pa.float32(), pa.decimal128(5, 2)])
def test_whole_numbers_of_any_type_find_a_level_with_a_point(kind: pa.DataType) -> None:
    column = pa.array([2, 1, 7], kind)
    rows, strange = encoding("1.0", "2.0").imputed(encode_table(encoding("1.0", "2.0"), pa.table({"c": column})))
    assert rows.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert strange.tolist() == [False, False, True]


def test_a_whole_number_beyond_a_float_is_its_own_level() -> None:
    levels = encoding("9007199254740992", "9007199254740993")
    assert encode_table(levels, pa.table({"c": [2**53 + 1, 2**53]})).tolist() == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(("level", "value", "kind"), [
    ("2024-01-31", date(2024, 1, 31), pa.date32()), ("2024-01-31", date(2024, 1, 31), pa.date64()),
    ("2024-01-31 10:00:00", datetime(2024, 1, 31, 10, tzinfo=UTC), pa.timestamp("us")),
    ("2024-01-31 10:00:00", datetime(2024, 1, 31, 10, tzinfo=UTC), pa.timestamp("ns", "UTC")),
    ("10:00:00.5", time(10, 0, 0, 500_000), pa.time64("ns")), ("10:00:00", time(10), pa.time32("ms")),
    ("1.10", Decimal("1.10"), pa.decimal128(5, 2)), ("1.1", Decimal("1.10"), pa.decimal128(5, 2)),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("encoded", [False, True])
def test_dates_times_and_decimals_are_spelt_as_in_uploads(
    level: str, value: Any, kind: pa.DataType, encoded: bool
) -> None:
    column = pa.array([value, None], kind)
    column = column.dictionary_encode() if encoded else column
    assert encode_table(encoding("1", level), pa.table({"c": column})).tolist() == [[0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
@pytest.mark.parametrize("dictionary", [False, True])
def test_numbers_and_booleans_may_be_texts_of_any_type(kind: pa.DataType, dictionary: bool) -> None:
    features = NumericFeature("n", 7.0), NumericFeature("b", 0.5, boolean=True)
    columns = {"n": pa.array(["1.5", " 2", None], kind), "b": pa.array(["yes", None, "False"], kind)}
    if dictionary:
        columns = {name: pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), texts) for name, texts in columns.items()}
    table = pa.table(columns)
    assert encode_table(Encoding(features, TargetEncoding(("y",), None)), table).tolist() == [
        [1.5, 1],
        [2, 0.5],
        [7, 0],
    ]
