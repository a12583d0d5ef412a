"""Columns in every format: names that can be told apart, and what becomes of those that nobody can read."""

import io
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet
import pytest

from app.datasets.ingest import NAME_LENGTH
from app.datasets.kinds import Kind
from app.datasets.readers import records
from app.errors import InvalidData, InvalidRequest
from tests.unit.datasets.conftest import Build

FORMS = ["parquet", "arrow"]


def written(table: pa.Table, form: str) -> bytes:
    sink = io.BytesIO()
    if form == "ndjson":
        sink.write(b"\n".join(orjson.dumps(row) for row in table.to_pylist()))
    elif form == "parquet":
        pyarrow.parquet.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    return sink.getvalue()


def fault(build: Build, body: bytes, form: str, **options: Any) -> tuple[str, str]:
    with pytest.raises((InvalidData, InvalidRequest)) as caught:
        build(body, form, **options)
    first = caught.value.faults[0]
    return first.location, first.message


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("values", [[[1, 2], [3, 4]], [[1, 2], ["x", "y"]], [[[1], [2]], [[3], [4]]]])
def test_two_columns_of_one_name_are_refused(build: Build, form: str, values: list[list[Any]]):
    table = pa.Table.from_arrays([pa.array([0, 0]), *map(pa.array, values)], names=["y", "a", "a"])

    assert fault(build, written(table, form), form) == ("column 3", "two columns are named 'a'; rename one")


@pytest.mark.parametrize("form", [*FORMS, "ndjson"])
@pytest.mark.parametrize("name", ["", " "])
def test_a_column_without_a_name_is_refused(build: Build, form: str, name: str):
    body = written(pa.table({"a": [1], name: [2]}), form)

    assert fault(build, body, form) == ("column 2", "the column has no name; give it one")


UNREADABLE = {
    "objects": pa.array([{"a": 1}, {"a": 2}]),
    "durations": pa.array([timedelta(1), timedelta(2)]),
    "bytes": pa.array([b"1", b"2"]),
    "lists of texts": pa.array([["x"], ["y"]]),
    "lists of different lengths": pa.array([[1], [1, 2]]),
    "lists": pa.array([[1], [2]]),
}
ABSENT_IN_JSON = ("durations", "bytes")


@pytest.mark.parametrize(
    ("form", "case"),
    [(form, case) for form in (*FORMS, "ndjson") for case in UNREADABLE if form in FORMS or case not in ABSENT_IN_JSON],
)
def test_a_column_that_no_kind_holds_is_left_out_if_it_is_declared_ignore(build: Build, form: str, case: str):
    body = written(pa.table({"a": [1, 2], "x": UNREADABLE[case]}), form)

    dataset = build(body, form, columns={"x": "ignore"})

    assert dataset.read() == [{"a": 1}, {"a": 2}]
    if case not in ("lists", "lists of different lengths"):
        location, message = fault(build, body, form)
        assert location.endswith("column x")
        assert "declare it ignore in columns to leave it out" in message


def test_objects_among_numbers_are_left_out_too_and_mixed_ones_kept_as_text(build: Build):
    rows = [{"a": 1, "x": 1, "t": 1}, {"a": 2, "x": {"deep": 1}, "t": "y"}, {"a": 3, "x": [1], "t": None}]
    dataset = build(records.read(rows, {"x": Kind.IGNORE, "t": Kind.IGNORE}), columns={"x": "ignore", "t": "ignore"})

    assert dataset.read() == [{"a": 1, "t": "1"}, {"a": 2, "t": "y"}, {"a": 3, "t": None}]


def test_mixed_values_are_refused_with_the_way_out(build: Build):
    _, message = fault(build, b'{"a": 1}\n{"a": "x"}', "ndjson")

    assert "declare the column categorical" in message


def test_what_is_left_out_can_be_no_target_and_something_must_be_left(build: Build):
    body = written(pa.table({"a": [1, 2], "x": UNREADABLE["objects"]}), "parquet")
    alone = written(pa.table({"x": UNREADABLE["objects"]}), "parquet")

    assert fault(build, body, "parquet", columns={"x": "ignore"}, target="x")[0] == "target"
    assert fault(build, alone, "parquet", columns={"x": "ignore"}) == (
        "file", "no column is left; each is declared ignore, and of a type that is not kept",
    )  # fmt: skip


def test_a_target_that_no_model_predicts_is_refused_at_once(build: Build):
    body = b"a,when,nothing\n1,2020-01-01,\n2,2020-01-02,\n"

    for name, why in (("when", "holds date-times"), ("nothing", "has no value")):
        assert fault(build, body, "csv", target=name) == ("target", f"the column {name!r} {why}; no model predicts it")
    assert build(body, target="when", columns={"when": "categorical"}).description.target == "when"


def test_text_that_python_alone_takes_for_a_number_is_refused_by_its_row(build: Build):
    body = written(pa.table({"a": ["1", "1_0"], "y": np.arange(2)}), "parquet")

    assert fault(build, body, "parquet", columns={"a": "numeric"}) == ("row 2, column a", '"1_0" is not a number')


@pytest.mark.parametrize(("kind", "wanted"), [("numeric", "a number"), ("boolean", "a boolean")])
@pytest.mark.parametrize("values", [[date(2020, 1, 1)], [datetime(2020, 1, 1)]])  # noqa: DTZ001 - as many tables have it
def test_a_date_that_is_declared_something_else_is_refused_with_the_way_out(
    build: Build, values: list[Any], kind: str, wanted: str
):
    body = written(pa.table({"a": values, "y": [1]}), "parquet")

    assert fault(build, body, "parquet", columns={"a": kind}) == (
        "row 1, column a",
        f"2020-01-01 00:00:00 is a date, not {wanted}; declare it categorical or ignore, or write it as {wanted}",
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kinds", [{}, {"a": "boolean"}, {"a": "ignore"}])
def test_texts_that_are_no_utf_8_are_refused_whatever_they_are_declared(build: Build, form: str, kinds: dict[str, str]):
    buffers = pa.array([b"\xff\xfe", b"x"]).buffers()
    table = pa.table({"a": pa.Array.from_buffers(pa.string(), 2, [None, *buffers[1:]]), "b": [1, 2]})

    assert fault(build, written(table, form), form, columns=kinds)[0] == "file"


@pytest.mark.parametrize("form", [*FORMS, "ndjson"])
@pytest.mark.parametrize("target", ["y", "a\0b"])
def test_a_nul_in_the_name_of_a_column_is_refused(build: Build, form: str, target: str):
    body = written(pa.table({"y": [0, 1], "a\0b": [1, 2]}), form)

    assert fault(build, body, form, target=target) == ("column 2", "its name has a NUL character; rename it")


@pytest.mark.parametrize("form", [*FORMS, "ndjson"])
def test_a_nul_in_a_text_is_refused_and_its_place_is_named(build: Build, form: str):
    texts = ["plain"] * 70_000 + ["with \0", None, "and \0"]
    body = written(pa.table({"y": texts}), form)

    location, message = fault(build, body, form)

    assert location == "row 70001, column y"
    assert "NUL" in message


@pytest.mark.parametrize("texts", [pa.array(["a\0", "b"]), pa.array(["b", "a\0", "b"])])
@pytest.mark.parametrize("kind", [pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.string_view()])
def test_a_nul_in_any_kind_of_text_is_refused(build: Build, texts: pa.Array, kind: pa.DataType):
    with pytest.raises(InvalidData, match="NUL"):
        build({"y": texts.cast(kind)})


def test_a_nul_beside_the_texts_of_a_slice_is_none_of_theirs(build: Build):
    texts = pa.array(["a\0", "b", "c"]).slice(1)

    assert build({"y": texts}).rows == 2


def test_class_names_have_no_nul(build: Build):
    arrays = io.BytesIO()
    np.savez(arrays, X=np.ones((2, 1)), y=np.array([0, 1]))

    location, message = fault(build, arrays.getvalue(), "npz", class_names=("a", "b", "c\0"))

    assert location == "class_names"
    assert "NUL" in message


def test_two_classes_have_two_names(build: Build):
    arrays = io.BytesIO()
    np.savez(arrays, X=np.ones((2, 1)), y=np.array([0, 1]))

    location, message = fault(build, arrays.getvalue(), "npz", class_names=("a", "b", "a"))

    assert (location, message) == ("class_names", 'two classes are named "a"; rename one')


@pytest.mark.parametrize("form", [*FORMS, "ndjson", "csv"])
def test_a_name_longer_than_the_database_keeps_is_refused(build: Build, form: str):
    longest = pa.table({"y": [0, 1], "é" * NAME_LENGTH: [1, 2]})
    beyond = pa.table({"y": [0, 1], "é" * NAME_LENGTH + "x": [1, 2]})

    def body(table: pa.Table) -> bytes:
        if form != "csv":
            return written(table, form)
        return "\n".join([",".join(table.column_names), "0,1", "1,2"]).encode()

    build(body(longest), form)
    location, message = fault(build, body(beyond), form)

    assert location == "column 2"
    assert str(NAME_LENGTH) in message


MORNING = datetime(2024, 1, 31, 10, tzinfo=UTC)
SPELLED = {
    "a date": (["2024-01-31", None], pa.array([date(2024, 1, 31), None]), pa.date64()),
    "a time": (["10:00:00", "10:00:00.25"], pa.array([time(10), time(10, 0, 0, 250000)]), pa.time32("ms")),
    "both": (["2024-01-31 10:00:00", None], pa.array([MORNING, None]), pa.timestamp("ns")),
    "nanoseconds": (["1970-01-01 00:00:00.00000001", None], pa.array([10, None], pa.timestamp("ns")), None),
    "a decimal": (["1.10", "-2.00"], pa.array([Decimal("1.10"), Decimal("-2.00")]), pa.decimal256(40, 2)),
    "a small one": (["0.0000000010", None], pa.array([Decimal("0.0000000010"), None]), None),
    "a large number": (["18446744073709551615", None], pa.array([2**64 - 1, None], pa.uint64()), None),
}


@pytest.mark.parametrize("case", SPELLED)
def test_categories_are_spelt_alike_in_every_format(build: Build, case: str) -> None:
    texts, values, other = SPELLED[case]
    columns = {"a": "categorical"}
    lines = ["a,n", *(f"{text or ''},{row}" for row, text in enumerate(texts))]
    rows = [{"a": text, "n": row} for row, text in enumerate(texts)]
    made = [build("\n".join(lines).encode(), "csv", columns=columns)]
    made.append(build(b"\n".join(map(orjson.dumps, rows)), "ndjson", columns=columns))
    made.append(build(records.read(rows, {"a": Kind.CATEGORICAL}), columns=columns))
    for array in (values, values.cast(other) if other else values, values.dictionary_encode()):
        table = pa.table({"a": array, "n": [0, 1]})
        made += [build(written(table, form), form, columns=columns) for form in FORMS]

    assert [row["a"] for row in made[0].read()] == texts
    assert len({dataset.description.sha256 for dataset in made}) == 1


def test_times_of_day_are_spelt_alike_though_nothing_is_declared(build: Build) -> None:
    tables = [pa.table({"a": pa.array([time(11)]).cast(kind)}) for kind in (pa.time32("s"), pa.time64("ns"))]

    assert [build(written(table, form), form).read()[0]["a"] for table in tables for form in FORMS] == ["11:00:00"] * 4


def test_dates_of_nanoseconds_may_come_as_a_dictionary(build: Build) -> None:
    dates = pa.array([MORNING, None], pa.timestamp("ns")).dictionary_encode()
    dataset = build(written(pa.table({"a": dates, "n": [0, 1]}), "arrow"), "arrow")

    assert dataset.read()[0]["a"].isoformat() == "2024-01-31T10:00:00"


@pytest.mark.parametrize("form", ["csv", *FORMS])
def test_an_ignored_column_may_have_numbers_that_are_none_here(build: Build, form: str) -> None:
    table = pa.table({"a": [1e39, 2.0, float("inf")], "n": [0, 1, 2]})
    body = b"a,n\n1e39,0\n2,1\ninf,2\n" if form == "csv" else written(table, form)

    assert "declare the column ignore" in fault(build, body, form)[1]
    dataset = build(body, form, columns={"a": "ignore"})
    assert [row["a"] for row in dataset.read()] == [None, 2.0, None]
    assert dataset.description.columns[0]["max"] == 2.0


@pytest.mark.parametrize("form", [*FORMS, "ndjson"])
def test_blanks_around_declared_texts_do_not_count(build: Build, form: str) -> None:
    table = pa.table({"a": [" 2", "3.5\t", None], "b": ["Yes ", None, " no"]})
    kinds = {"a": "numeric", "b": "boolean"}

    rows = build(written(table, form), form, columns=kinds).read()

    assert [tuple(row.values()) for row in rows] == [(2.0, True), (3.5, None), (None, False)]


@pytest.mark.parametrize("kind", ["numeric", "boolean"])
@pytest.mark.parametrize("text", ["", " "])
def test_a_text_without_a_character_is_no_missing_value(build: Build, kind: str, text: str) -> None:
    body = written(pa.table({"a": ["1", text]}), "parquet")
    location, message = fault(build, body, "parquet", columns={"a": kind})

    assert location == "row 2, column a"
    assert message.endswith("; use null for a missing value")


def test_a_dictionary_may_have_views_of_texts(build: Build) -> None:
    codes, texts = pa.array([1, 0, None]), pa.array(["x", "y"], pa.string_view())
    table = pa.table({"a": pa.DictionaryArray.from_arrays(codes, texts), "n": [0, 1, 2]})

    assert [row["a"] for row in build(written(table, "arrow"), "arrow").read()] == ["y", "x", None]
