import gzip
import io
import json
import warnings
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from app.datasets.readers import format_of, ndjson, records
from app.datasets.readers.content import Content
from app.errors import InvalidData, TooLarge, UnsupportedMediaType
from tests.unit.datasets.conftest import Build

TABLE = pa.table(
    {
        "n": [1, None, -3],
        "f": [1.0, 2.5, None],
        "whole": [1.0, -0.0, 3.0],
        "c": ["x", None, 'ü "y"'],
        "b": [True, None, False],
        "nothing": pa.array([None, None, None], pa.float64()),
    }
)


def written(form: str) -> bytes:
    sink = io.BytesIO()
    if form == "csv":
        pyarrow.csv.write_csv(TABLE, sink)
    elif form == "parquet":
        pq.write_table(TABLE, sink, row_group_size=2)
    elif form == "arrow":
        with pa.ipc.new_stream(sink, TABLE.schema) as stream:
            stream.write_table(TABLE, max_chunksize=1)
    else:
        sink.write(b"\n".join(orjson.dumps(row) for row in TABLE.to_pylist()))
    return sink.getvalue()


def test_the_same_table_in_every_format_is_the_same_dataset(build: Build):
    made = [build(written(form), form) for form in ("csv", "ndjson", "parquet", "arrow")]
    made.append(build(gzip.compress(written("csv")), "csv"))
    made.append(build(records.read(TABLE.to_pylist(), {})))

    assert len({dataset.description.sha256 for dataset in made}) == 1
    assert all(dataset.description.columns == made[0].description.columns for dataset in made)


@pytest.mark.parametrize("change", ["a value", "a name", "an order", "a missing value", "a kind"])
def test_another_table_has_another_hash(build: Build, change: str):
    columns = {"a": [1, 2], "b": ["x", "y"]}
    other = {
        "a value": {"a": [1, 3], "b": ["x", "y"]},
        "a name": {"a": [1, 2], "c": ["x", "y"]},
        "an order": {"b": ["x", "y"], "a": [1, 2]},
        "a missing value": {"a": [1, 2], "b": ["x", None]},
        "a kind": {"a": ["1", "2"], "b": ["x", "y"]},
    }[change]

    assert build(columns).description.sha256 != build(other).description.sha256


LARGE = [2**53 + 1, 2**63 - 1, -(2**63) + 1, -(2**53) - 1]


@pytest.mark.parametrize("number", LARGE)
def test_whole_numbers_that_no_float_is_have_hashes_of_their_own(build: Build, number: int):
    other = number + 1 if number < 0 else number - 1

    assert build({"a": [1, number]}).description.sha256 != build({"a": [1, other]}).description.sha256
    assert build({"a": [number, 1, None]}).description.sha256 != build({"a": [number, None, 1]}).description.sha256


def test_they_have_the_same_hash_in_every_format_and_others_have_the_one_of_old(build: Build):
    table, forms = pa.table({"a": [0, *LARGE, None, 2**60]}), {}
    for form in ("parquet", "arrow"):
        forms[form] = io.BytesIO()
    pq.write_table(table, forms["parquet"])
    with pa.ipc.new_stream(forms["arrow"], table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    made = [build(sink.getvalue(), form) for form, sink in forms.items()]
    made.append(build(b"\n".join(orjson.dumps(row) for row in table.to_pylist()), "ndjson"))
    made.append(build(records.read(table.to_pylist(), {})))
    made.append(build(b"a\n" + b"\n".join(b"%d" % number for number in (0, *LARGE)) + b'\n""\n%d\n' % 2**60))

    assert len({dataset.description.sha256 for dataset in made}) == 1
    assert build({"a": [1, 2**53, -(2**60)]}).description.sha256[:16] == "cbe8a94c0a8202c0"


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_truncated_file_is_refused(build: Build, form: str):
    with pytest.raises(InvalidData, match="truncated"):
        build(written(form)[:-100], form)


def test_nested_columns_are_refused_by_name(build: Build):
    with pytest.raises(InvalidData) as caught:
        build({"deep": [{"a": 1}, {"a": 2}]})

    assert caught.value.faults[0].location == "column deep"


BAD_LISTS = {
    "ragged": ([[1, 2], [1, 2, 3]], "row 2, column a"),
    "ragged inside": ([[[1], [2]], [[1], [2, 3]]], "row 2, column a"),
    "a missing list": ([[1], None], "row 2, column a"),
    "a missing element": ([[1, 2], [3, 4], [None, 5]], "row 3, column a"),
    "an empty list": ([[], []], "row 1, column a"),
    "texts": ([["x"], ["y"]], "column a"),
    "an endless number": ([[1.0], [float("inf")]], "row 2, column a"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_lists_that_are_no_arrays_of_one_shape_are_refused(build: Build, case: str):
    values, location = BAD_LISTS[case]

    with pytest.raises(InvalidData) as caught:
        build({"a": values, "y": list(range(len(values)))})

    assert caught.value.faults[0].location == location


def test_arrays_alone_are_refused(build: Build):
    with pytest.raises(InvalidData, match="a label"):
        build({"a": [[1, 2], [3, 4]]})


def lists(form: str, values: np.ndarray, kind: pa.DataType) -> bytes:
    """Arrays with labels, in several pieces."""
    table = pa.table({"image": pa.array(values.tolist(), kind), "y": pa.array(range(len(values)))})
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, sink, row_group_size=2)
    elif form == "arrow":
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table, max_chunksize=2)
    else:
        sink.write(b"\n".join(orjson.dumps(row) for row in table.to_pylist()))
    return sink.getvalue()


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("fixed", [True, False])
def test_lists_of_bytes_are_images(build: Build, form: str, fixed: bool):
    values = np.random.default_rng(0).integers(0, 256, (5, 3, 2)).astype(np.uint8)
    kind = pa.list_(pa.list_(pa.uint8(), 2), 3) if fixed else pa.list_(pa.large_list(pa.uint8()))

    dataset = build(lists(form, values, kind), form)

    assert dataset.array("image").dtype == np.uint8
    assert np.array_equal(dataset.array("image"), values)
    assert [row["y"] for row in dataset.read()] == [0, 1, 2, 3, 4]
    alike = build(Content(lambda: iter([pa.record_batch({"y": range(5)})]), {"image": (values[:2], values[2:])}))
    assert dataset.description.sha256 == alike.description.sha256


@pytest.mark.parametrize("form", ["parquet", "arrow", "ndjson"])
def test_lists_of_numbers_are_arrays(build: Build, form: str):
    values = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)

    dataset = build(lists(form, values, pa.list_(pa.float32())), form)

    assert np.array_equal(dataset.array("image"), values)


def test_tensors_of_arrow_are_arrays(build: Build):
    values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    table = pa.table({"t": pa.FixedShapeTensorArray.from_numpy_ndarray(values), "y": [0, 1]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)

    assert np.array_equal(build(sink.getvalue(), "arrow").array("t"), values)


def test_dates_in_json_are_dates_as_in_csv(build: Build):
    rows = [{"d": "2020-01-02", "t": "2020-01-02T10:00:00Z", "s": "2020-01-02"}, {"d": None, "t": None, "s": "soon"}]
    lines = b"\n".join(orjson.dumps(row) for row in rows)

    kinds = {name: kind.value for name, kind in build(lines, "ndjson").kinds.items()}

    assert kinds == {"d": "ignore", "t": "ignore", "s": "categorical"}
    as_csv = b"d,t,s\n2020-01-02,2020-01-02T10:00:00Z,2020-01-02\n,,soon\n"
    assert build(lines, "ndjson").description.sha256 == build(as_csv).description.sha256
    declared = build(lines, "ndjson", columns={"d": "categorical"})
    assert declared.read()[0]["d"] == "2020-01-02"


def test_lines_are_read_in_blocks_and_their_types_hold_for_all(build: Build, monkeypatch: pytest.MonkeyPatch):
    rows = [{"a": 1, "l": [1, 2]}, {"a": 2, "l": [3, 4]}, {"b": "x", "a": 2.5, "l": [0.5, 1]}]
    lines = b"\n\n".join(orjson.dumps(row) for row in rows)
    whole = build(lines, "ndjson")
    monkeypatch.setattr(ndjson, "BLOCK_BYTES", 1)

    blocks = build(lines, "ndjson")

    assert blocks.read() == whole.read()
    assert blocks.description.sha256 == whole.description.sha256
    assert whole.read()[0] == {"l": [1.0, 2.0], "a": 1.0, "b": None}
    with pytest.raises(InvalidData) as caught:
        build(lines + b'\n{"a": "y"}', "ndjson")
    assert caught.value.faults[0].location == "row 4, column a"


BAD_RECORDS = {
    "none": ([], "records"),
    "no columns": ([{}], "records"),
    "mixed types": ([{"a": 1}, {"a": None}, {"a": "x"}], "row 3, column a"),
    "a boolean among numbers": ([{"a": 1}, {"a": True}], "row 2, column a"),
    "a list among numbers": ([{"a": 1, "b": 1}, {"a": 1, "b": [1]}], "row 2, column b"),
    "an object": ([{"a": 1, "b": {"c": 1}}], "row 1, column b"),
    "lists of different depth": ([{"y": 1, "b": [1]}, {"y": 2, "b": [[1]]}], "row 1 and after, column b"),
    "an endless number": ([{"a": 1.5}, {"a": float("inf")}], "row 2, column a"),
    "an immense number": ([{"a": 1}, {"a": 10**400}], "row 2, column a"),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_bad_records_are_refused_and_their_place_is_named(build: Build, case: str):
    rows, location = BAD_RECORDS[case]

    with pytest.raises(InvalidData) as caught:
        build(records.read(rows, {}))

    assert caught.value.faults[0].location == location


def test_a_line_that_is_no_object_is_named(build: Build):
    for body, location in [(b'{"a": 1}\n{"a": ', "line 2"), (b"[1]\n", "line 1")]:
        with pytest.raises(InvalidData) as caught:
            build(body, "ndjson")
        assert caught.value.faults[0].location == location


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (json.dumps({"a": float("nan")}).encode(), "write null for a missing value"),
        (json.dumps({"a": [1, -float("inf")]}).encode(), "no Infinity"),
        ('{"a": 1}\n'.encode("utf-16"), "as UTF-16 does: save the file as UTF-8"),
        ('{"a": 1}\n'.encode("utf-16-be"), "as UTF-16 does: save the file as UTF-8"),
        ('{"a": "ü"}\n'.encode("latin-1"), "it is not UTF-8"),
        (json.dumps({"a": 1, "b": 2}, indent=1).encode(), "write each object on one line"),
        (json.dumps([{"a": 1}, {"a": 2}], indent=1).encode(), "write each object on one line"),
        (b'[{"a": 1}, {"a": 2}]', "not a JSON object; write each of its objects on a line of its own"),
        (b"a,b", "not a JSON value"),
    ],
)
def test_what_is_most_likely_wrong_with_a_line_is_said(build: Build, body: bytes, cause: str):
    with pytest.raises(InvalidData) as caught:
        build(body, "ndjson")

    assert caught.value.faults[0].location == "line 1"
    assert cause in caught.value.faults[0].message


def npz(**arrays: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    return sink.getvalue()


def test_an_npz_of_images_has_its_test_split(build: Build):
    X, y = np.arange(24, dtype=np.uint8).reshape(4, 3, 2), np.arange(4)

    dataset = build(npz(X=X[:3], y=y[:3], X_test=X[3:], y_test=y[3:]), "npz")

    assert dataset.description.splits == {"train": 3, "test": 1}
    assert np.array_equal(dataset.array("X"), X)
    assert dataset.description.target == "y"


def test_an_npz_matrix_becomes_columns(build: Build):
    assert build(npz(X=np.eye(2), y=np.array(["p", "q"])), "npz").read() == [
        {"x1": 1.0, "x2": 0.0, "y": "p"},
        {"x1": 0.0, "x2": 1.0, "y": "q"},
    ]


@pytest.mark.parametrize(
    "arrays",
    [
        {"X": np.array([[None]], object), "y": np.zeros(1)},
        {"X": np.eye(2), "y": np.zeros(3)},
        {"X": np.eye(2)},
    ],
)
def test_a_bad_npz_is_refused(build: Build, arrays: dict[str, np.ndarray]):
    with pytest.raises(InvalidData):
        build(npz(**arrays), "npz")


@pytest.mark.parametrize("kind", ["u1", "<i8", ">i4"])
@pytest.mark.parametrize("shape", [(3, 2), (3, 2, 2)])
def test_class_names_take_the_place_of_whole_numbers_in_an_npz(build: Build, kind: str, shape: tuple[int, ...]):
    X, y = np.zeros(shape), np.array([0, 2, 1])
    dataset = build(npz(X=X, y=y.astype(kind), X_test=X, y_test=y), "npz", class_names=("shirt", "coat", "bag", "boot"))

    description = dataset.description
    assert dataset.column("y").to_pylist() == ["shirt", "bag", "coat"] * 2
    assert (description.target, description.class_names) == ("y", ["shirt", "coat", "bag", "boot"])
    assert dataset.kinds["y"] == "categorical"


@pytest.mark.parametrize(
    ("y", "y_test", "location", "message"),
    [
        ([0, 1, 2], [0, 1, 1], "y, row 3", "the label is 2, but class_names has 2 names (0 to 1)"),
        ([0, 1, 1], [0, -1, 1], "y_test, row 2", "the label is -1"),
        ([0.0, 1.0, 1.0], [0, 1, 1], "y", "whole numbers here, from 0 on; these are float64"),
        (["a", "b", "b"], ["a", "b", "b"], "y", "whole numbers"),
    ],
)
def test_class_names_that_do_not_fit_an_npz_are_refused(
    build: Build, y: list[Any], y_test: list[Any], location: str, message: str
):
    X = np.zeros((3, 2, 2))

    with pytest.raises(InvalidData) as caught:
        build(npz(X=X, y=np.array(y), X_test=X, y_test=np.array(y_test)), "npz", class_names=("shirt", "coat"))

    assert caught.value.faults[0].location == location
    assert message in caught.value.faults[0].message


@pytest.mark.parametrize(
    ("y", "y_test", "location", "message"),
    [
        (["a", "bc"], ["a", "b\0c"], "y_test, row 2", "NUL"),
        (["\0b", "bc"], ["a", "b"], "y, row 1", "NUL"),
        (["a", "b"], [0, 1], "y_test", "one has texts"),
        ([0.5, 1], ["a", "b"], "y_test", "one has texts"),
    ],
)
def test_texts_in_an_npz_are_texts_throughout_and_whole(
    build: Build, y: list[Any], y_test: list[Any], location: str, message: str
):
    with pytest.raises(InvalidData) as caught:
        build(npz(X=np.eye(2), y=np.array(y), X_test=np.eye(2), y_test=np.array(y_test)), "npz")

    assert caught.value.faults[0].location == location
    assert message in caught.value.faults[0].message


def test_texts_in_an_npz_may_have_any_length_and_none(build: Build):
    arrays = npz(X=np.eye(3), y=np.array(["", "abc", "ü"]), X_test=np.eye(3), y_test=np.array(["", "", ""]))

    assert build(arrays, "npz").column("y").to_pylist() == ["", "abc", "ü", "", "", ""]


def zipped(packed: int = zipfile.ZIP_STORED, twice: bool = False) -> bytearray:
    sink, array = io.BytesIO(), io.BytesIO()
    np.save(array, np.eye(2))
    label = io.BytesIO()
    np.save(label, np.arange(2))
    with zipfile.ZipFile(sink, "w", packed) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a name that stands in the archive already
        for name, content in (("X", array), ("y", label), *([("y", label)] if twice else [])):
            archive.writestr(f"{name}.npy", content.getvalue())
    return bytearray(sink.getvalue())


def test_an_npz_is_stored_or_deflated(build: Build):
    for packed in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert build(bytes(zipped(packed)), "npz").description.rows == 2
    for packed in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(InvalidData, match="packed in a way"):
            build(bytes(zipped(packed)), "npz")


def test_an_npz_that_is_encrypted_or_holds_an_array_twice_is_refused(build: Build):
    encrypted = zipped()
    directory = encrypted.index(b"PK\x01\x02")
    encrypted[directory + 8] |= 1

    with pytest.raises(InvalidData, match="encrypted"):
        build(bytes(encrypted), "npz")
    with pytest.raises(InvalidData, match="y: this array is given twice"):
        build(bytes(zipped(twice=True)), "npz")


def test_an_npz_whose_directory_points_nowhere_is_refused(build: Build):
    for at, value in ((16, b"\xff\xff\xff\xff"), (12, b"\xff\xff\xff\x7f")):  # where the directory is, and its size
        damaged = zipped()
        end = damaged.index(b"PK\x05\x06")
        damaged[end + at : end + at + 4] = value
        with pytest.raises(InvalidData, match="not a whole NPZ"):
            build(bytes(damaged), "npz")


def test_an_npz_bomb_is_refused_by_its_directory(build: Build):
    with pytest.raises(TooLarge):
        build(npz(X=np.zeros((1000, 1000)), y=np.zeros(1000)), "npz", limit=1 << 20)


def test_a_format_is_known_by_its_media_type_else_by_the_file_name():
    assert format_of("text/csv; charset=utf-8").name == "csv"
    assert format_of("application/octet-stream", "Data.PARQUET").name == "parquet"
    assert format_of(None, "table.csv.gz").name == "csv"
    with pytest.raises(UnsupportedMediaType):
        format_of("image/png", "cat.png")


def test_the_real_tables_are_read_as_they_are(build: Build, real_data: Path):
    housing = build((real_data / "california-housing.csv").read_bytes())
    penguins = build((real_data / "penguins.csv").read_bytes(), target="species")
    about = {column["name"]: column for column in housing.description.columns}

    assert housing.rows == 20_640
    assert about["total_bedrooms"]["missing"] == 207
    assert about["ocean_proximity"]["distinct"] == 5
    assert about["ocean_proximity"]["categories"][-1] == {"value": "ISLAND", "count": 5}
    assert penguins.rows == 344
    assert [name for name, kind in penguins.kinds.items() if kind == "categorical"] == [
        "species",
        "island",
        "sex",
    ]


def test_records_of_mixed_types_are_texts_where_the_column_is_declared_categorical(build: Build):
    for form in ([1, "x", 2.5, True, None], ["x", 1, None], [2**63, "x"], [1.5, 1, "x"]):
        lines = b"\n".join(orjson.dumps({"a": value, "b": 1}) for value in form)
        dataset = build(lines, "ndjson", columns={"a": "categorical"})

        said = {True: "true", None: None}
        expected = [said[value] if value is None or value is True else str(value) for value in form]
        assert dataset.column("a").to_pylist() == expected


def test_a_list_among_texts_is_refused_though_the_column_is_declared_categorical(build: Build):
    with pytest.raises(InvalidData) as caught:
        build(b'{"a": "x", "b": 1}\n{"a": [1], "b": 1}', "ndjson", columns={"a": "categorical"})

    assert caught.value.faults[0].location == "row 2, column a"


@pytest.mark.parametrize("kind", ["longdouble", "float16", ">f4", ">i4", ">i8", "uint64", "bool"])
def test_an_npz_may_have_numbers_of_any_type_and_byte_order(build: Build, kind: str):
    values = np.array([[0, 1], [1, 0]])

    dataset = build(npz(X=values.astype(kind), y=values[0].astype(kind)), "npz")

    assert dataset.read() == [{"x1": 0, "x2": 1, "y": 0}, {"x1": 1, "x2": 0, "y": 1}]


def test_lines_of_json_may_begin_with_a_byte_order_mark(build: Build):
    assert build(b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n', "ndjson").read() == [{"a": 1}, {"a": 2}]


def test_decimals_are_the_numbers_that_their_texts_are(build: Build):
    texts = [f"{whole}.{cents:02d}" for whole in (0, 7, 319) for cents in range(100)]
    table = pa.table({"a": pa.array([Decimal(text) for text in texts], pa.decimal128(10, 2)), "c": texts})
    sink = io.BytesIO()
    pq.write_table(table.set_column(1, "c", table["a"]), sink)

    found = build(sink.getvalue(), "parquet", columns={"c": "categorical"})

    assert found.column("a").to_pylist() == [float(text) for text in texts]
    assert found.column("c").to_pylist()[35] == "0.35"


@pytest.mark.parametrize(("kind", "value"), [
    (pa.timestamp("us"), 10**18), (pa.timestamp("s"), 2**62), (pa.date32(), 2**30), (pa.timestamp("us"), -(10**17)),
], ids=str)  # fmt: skip
def test_a_date_beyond_the_calendar_is_refused(build: Build, kind: pa.DataType, value: int):
    sink = io.BytesIO()
    storage = pa.int32() if kind == pa.date32() else pa.int64()
    batch = pa.record_batch({"n": [1, 2], "t": pa.array([0, value], storage).cast(kind)})
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    with pytest.raises(InvalidData) as caught:
        build(sink.getvalue(), "arrow")
    assert "column t" in caught.value.faults[0].location


def test_so_it_is_in_csv(build: Build):
    with pytest.raises(InvalidData) as caught:
        build(b"n,t\n1,2020-01-01\n2,0000-01-01\n")
    assert (caught.value.faults[0].location, "1 to 9999" in caught.value.faults[0].message) == ("row 2, column t", True)


def test_test_images_of_another_type_than_bytes_are_refused(build: Build):
    X, y = np.zeros((2, 2, 2), np.uint8), np.array([0, 1])
    sink = io.BytesIO()
    np.savez(sink, X=X, y=y, X_test=X / 2 + 0.5, y_test=y)
    with pytest.raises(InvalidData, match="in one type"):
        build(sink.getvalue(), "npz")


def test_rows_without_elements_are_refused(build: Build):
    sink = io.BytesIO()
    np.savez(sink, X=np.zeros((2, 0, 3)), y=np.array([0, 1]))
    with pytest.raises(InvalidData, match="no elements"):
        build(sink.getvalue(), "npz")


def test_a_tensor_whose_axes_lie_in_another_order_comes_as_it_is_meant(build: Build):
    kind = pa.fixed_shape_tensor(pa.float32(), (4, 3), permutation=[1, 0])
    storage = pa.array([list(range(12)), list(range(12, 24))], pa.list_(pa.float32(), 12))
    tensors = pa.ExtensionArray.from_storage(kind, storage)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pa.schema([("im", kind), ("y", pa.int64())])) as stream:
        stream.write_batch(pa.record_batch([tensors, pa.array([0, 1])], ["im", "y"]))

    found = build(sink.getvalue(), "arrow")

    assert found.array("im").tolist() == tensors.to_numpy_ndarray().tolist()


def test_an_arrow_file_is_read_as_a_stream_is(build: Build):
    table, contents = pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]}), []
    for make in (pa.ipc.new_stream, pa.ipc.new_file):
        sink = io.BytesIO()
        with make(sink, table.schema) as writer:
            writer.write_table(table, 2)
        contents.append(sink.getvalue())
    stream, file = (build(content, "arrow") for content in contents)
    assert stream.description.sha256 == file.description.sha256
    with pytest.raises(InvalidData, match="damaged"):
        build(contents[1][:-40], "arrow")
