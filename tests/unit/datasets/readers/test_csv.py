import gzip
import time
from pathlib import Path

import pyarrow.csv
import pytest

from app.datasets.readers import csv, csv_faults
from app.datasets.readers.csv import CsvTable
from app.datasets.readers.csv_dialect import CsvOptions, Dialect
from app.errors import InvalidData, InvalidRequest, OnelayerError
from tests.unit.datasets.conftest import Build


def kinds(dataset) -> dict[str, str]:
    return {name: kind.value for name, kind in dataset.kinds.items()}


def test_types_are_inferred_and_the_usual_spellings_of_missing_are_missing(build: Build):
    dataset = build(b"n,f,c,b,d,e\n1,1.5,x,true,2020-01-02,\nNA,NaN,null,None,,\n-3,2,y,False,2021-01-02,NA\n")

    assert kinds(dataset) == {
        "n": "numeric", "f": "numeric", "c": "categorical", "b": "boolean", "d": "ignore", "e": "ignore",
    }  # fmt: skip
    assert [column["missing"] for column in dataset.description.columns] == [1, 1, 1, 1, 1, 3]
    assert dataset.column("n").to_pylist() == [1, None, -3]
    assert dataset.column("b").to_pylist() == [True, None, False]


@pytest.mark.parametrize(
    ("late", "kind", "value"),
    [(b"2.5", "numeric", 2.5), (b"x", "categorical", "x"), (b"", "numeric", None)],
)
def test_a_late_value_decides_the_type_of_its_whole_column(
    build: Build, monkeypatch: pytest.MonkeyPatch, late: bytes, kind: str, value: object
):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 256)

    dataset = build(b"a,b\n" + b"007,1\n" * 500 + late + b",2\n")

    assert kinds(dataset) == {"a": kind, "b": "numeric"}
    assert dataset.column("a").to_pylist()[-1] == value
    assert dataset.column("a").to_pylist()[0] == ("007" if kind == "categorical" else 7)


@pytest.mark.parametrize("late", ["2\u00a0", "\u30002", "2\x0b", "\x0c2", "2\u2028", " 2020-01-02 10:00:00"])
@pytest.mark.parametrize("first", ["1", "1.5", "2020-01-01 10:00:00"])
def test_a_late_space_that_no_reader_trims_makes_a_text_as_an_early_one_does(
    build: Build, monkeypatch: pytest.MonkeyPatch, first: str, late: str
):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 256)

    dataset = build(("a,b\n" + f"{first},1\n" * 500 + f"{late},3\n").encode())

    assert kinds(dataset) == {"a": "categorical", "b": "numeric"}
    assert dataset.column("a").to_pylist() == [first] * 500 + [late]


def test_a_late_space_in_a_column_declared_numeric_is_refused_by_its_place(
    build: Build, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 256)

    with pytest.raises(InvalidData) as caught:
        build(b"a,b\n" + b"1,1\n" * 500 + b"2\xc2\xa0,3\n", columns={"a": "numeric"})

    assert [fault.location for fault in caught.value.faults] == ["row 501, column a"]


def test_spaces_and_tabs_around_late_numbers_and_dates_are_trimmed(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 256)

    dataset = build(b"a,d,b\n" + b"1,2020-01-01,1\n" * 500 + b" 2\t, 2020-01-02 ,x\n")

    assert kinds(dataset) == {"a": "numeric", "d": "ignore", "b": "categorical"}
    assert dataset.column("a").to_pylist()[-1] == 2


HEXADECIMAL = {
    "beyond 63 bits": b"id,n\n0xFFFFFFFFFFFFFFFF,1\n0x8000000000000001,2\n",
    "small": b"id,n\n0x10,1\n0X1f,2\n",
    "in quotes": b'id,n\n"0x10",1\n"a,b",2\n',
    "quoted beside numbers": b'id,n\n1,1\n"0x10",2\n',
    "between spaces": b"id,n\n1,1\n 0x10 ,2\n",
    "signed": b"id,n\n-0x10,1\n+0x10,2\n",
    "late": b"id,n\n" + b"1,2\n" * 500 + b"0x10,3\n",
    "above a fraction": b"id,n\n0x10,2\n" + b"1,2\n" * 500 + b"1.5,3\n",
    "at the end of the file": b"n,id\n1,7\n2,0x10",
}


@pytest.mark.parametrize("case", HEXADECIMAL)
def test_a_column_with_hexadecimal_values_is_text(build: Build, monkeypatch: pytest.MonkeyPatch, case: str):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 256)

    dataset = build(HEXADECIMAL[case])

    assert kinds(dataset) == {"id": "categorical", "n": "numeric"}
    assert any("0x" in text for text in dataset.column("id").to_pylist())


@pytest.mark.parametrize("size", range(19, 40))
def test_a_hexadecimal_value_is_seen_wherever_the_file_is_cut(build: Build, monkeypatch: pytest.MonkeyPatch, size: int):
    monkeypatch.setattr(csv_faults, "_CHUNK", size)

    assert kinds(build(b"id,n\n1,1\n1,1\n1,1\n1,1\n1,1\n0x10,2\n3,3\n"))["id"] == "categorical"


def test_a_hexadecimal_value_in_a_column_declared_numeric_is_refused_by_its_place(build: Build):
    with pytest.raises(InvalidData) as caught:
        build(b"id,n\n1,1\n0x10,2\n", columns={"id": "numeric"})

    assert [str(fault.location) for fault in caught.value.faults] == ["row 2, column id"]


def test_texts_that_hold_an_x_behind_a_zero_cost_no_further_pass(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv, "survey", lambda *_: pytest.fail("the file was read once more"))
    monkeypatch.setattr(csv_faults, "_CHUNK", 24)

    assert kinds(build(b"a,b\n10xyz,1\na0xb,1\n" + b"0x%s,2\n" % (b"ab" * 20) * 50))["a"] == "categorical"


def test_a_column_that_begins_with_missing_values_still_gets_its_type(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 256)

    dataset = build(b"a,b\n" + b",1\n" * 500 + b"true,1\n")

    assert kinds(dataset) == {"a": "boolean", "b": "numeric"}


def test_the_streamed_types_are_those_that_pyarrow_infers_from_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "x.csv"
    rows = [f"{i},{i / 2},{'x' if i == 400 else i},{'true' if i % 2 else 'false'},2020-01-01" for i in range(500)]
    path.write_text("a,b,c,d,e\n" + "\n".join(rows))
    monkeypatch.setattr(csv, "BLOCK_BYTES", 512)
    table = CsvTable(path, Dialect(",", '"', "utf-8", True), list("abcde"), {})
    with pytest.raises(csv.TypesChanged):
        list(table.batches())

    read = pyarrow.Table.from_batches(table.batches())

    assert read == pyarrow.csv.read_csv(path)


def test_pieces_that_are_parsed_side_by_side_keep_their_order(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 128)
    parsed = CsvTable._parsed

    def delayed(table: CsvTable, piece: bytes, types: dict, has_header: bool) -> pyarrow.Table:
        time.sleep(0.01 if b"\n1" in piece else 0)
        return parsed(table, piece, types, has_header)

    monkeypatch.setattr(CsvTable, "_parsed", delayed)

    dataset = build(b"a,b\n" + b"".join(b"%d,1\n" % row for row in range(2000)) + b"\n" * 2000)

    assert dataset.column("a").to_pylist() == list(range(2000))


TIMES = {
    "in the first block": b"t,n\n12:30,1\n07:05,2\n,3\n",
    "in quotes": b't,n\n"12:30",1\n"07:05",2\n,3\n',
    "where another column makes all values decide": b"t,n\n12:30,1\n07:05,2\n" + b",3\n" * 100 + b",x\n",
    "only later on": b"t,n\n" + b",3\n" * 100 + b"12:30,1\n07:05,2\n",
    "beside a time with seconds": b"t,n\n12:30,1\n07:05,2\n" + b"12:30:00,3\n" * 100,
}


@pytest.mark.parametrize("case", TIMES)
def test_a_time_of_day_keeps_its_spelling(build: Build, monkeypatch: pytest.MonkeyPatch, case: str):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 128)

    dataset = build(TIMES[case])

    assert kinds(dataset)["t"] == "categorical"
    assert [text for text in dataset.column("t").to_pylist() if text and len(text) < 6] == ["12:30", "07:05"]


@pytest.mark.parametrize("zone", ["", "Z", "+01:00"])
def test_nanoseconds_make_a_time_wherever_they_stand(build: Build, monkeypatch: pytest.MonkeyPatch, zone: str):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 128)
    times = [f"2020-01-02 10:00:00{zone},2\n" * 100, f"2020-01-02 10:00:00.123456789{zone},2\n"]

    early, late = (build(("t,n\n" + "".join(some)).encode()) for some in (reversed(times), times))

    assert kinds(early) == kinds(late) == {"t": "ignore", "n": "numeric"}
    assert early.column("t").to_pylist() == list(reversed(late.column("t").to_pylist()))


def test_times_of_day_do_not_cost_another_pass_over_the_file(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"t,n\n12:30,1\n")

    (batch,) = CsvTable(path, Dialect(",", '"', "utf-8", True), ["t", "n"], {}).batches()

    assert batch.to_pylist() == [{"t": "12:30", "n": 1}]


def test_rows_that_are_all_missing_are_rows_though_the_delimiter_is_white(
    build: Build, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 60)

    dataset = build(b"a\tb\tc\n" + b"1\t2\t3\n" * 9 + b"\t\t\n" * 50 + b"\r\n" * 50)

    assert dataset.column("a").to_pylist() == [1] * 9 + [None] * 50


def test_a_reader_that_is_let_go_of_parses_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 128)
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b\n" + b"1,2\n" * 10_000)
    pieces = []
    parsed = CsvTable._parsed
    monkeypatch.setattr(CsvTable, "_parsed", lambda *given: pieces.append(1) or parsed(*given))
    batches = CsvTable(path, Dialect(",", '"', "utf-8", True), ["a", "b"], {}).batches()

    next(batches)
    next(batches)
    batches.close()

    assert len(pieces) <= 2 + 2 * csv.THREADS


def test_declared_kinds_override_what_would_be_inferred(build: Build):
    body = b"zip,flag,n,x\n00501,1,3,1\n10001,no,,2\n"

    dataset = build(body, columns={"zip": "categorical", "flag": "boolean", "n": "numeric", "x": "ignore"})

    assert kinds(dataset) == {"zip": "categorical", "flag": "boolean", "n": "numeric", "x": "ignore"}
    assert dataset.read() == [
        {"zip": "00501", "flag": True, "n": 3.0, "x": 1},
        {"zip": "10001", "flag": False, "n": None, "x": 2},
    ]


BIG = 9007199254740993
DECLARED = {
    "alone": (b"a,b\n%d,x\n", [BIG]),
    "in quotes": (b'a,b\n"%d",x\n"",y\n', [BIG, None]),
    "below missing values": (b"a,b\n" + b",x\n" * 200 + b"%d,x\n", [None] * 200 + [BIG]),
    "below missing values in quotes": (b"a,b\n" + b'"NA","x"\n' * 200 + b"%d,x\n", [None] * 200 + [BIG]),
    "beside what makes all values decide": (b"a,b\n%d,1\n" + b"1,1\n" * 200 + b"1,x\n", [BIG] + [1] * 201),
    "above a fraction": (b"a,b\n" + b"3,x\n" * 200 + b"1.5,x\n", [3] * 200 + [1.5]),
    "nothing but missing values in quotes": (b'a,b\n"",x\n"NA",y\n', [None, None]),
}


@pytest.mark.parametrize("case", DECLARED)
def test_numbers_that_are_declared_are_those_that_would_be_inferred(
    build: Build, monkeypatch: pytest.MonkeyPatch, case: str
):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 256)
    body, values = DECLARED[case]

    dataset = build(body.replace(b"%d", str(BIG).encode()), columns={"a": "numeric"})

    assert dataset.column("a").to_pylist() == values
    assert kinds(dataset)["a"] == "numeric"


@pytest.mark.parametrize("body", [b"a,b\ntrue,1\n", b"a,b\n2020-01-02,1\n", b"a,b\n12:30,1\n", b'a,b\n"x",1\n'])
def test_what_is_declared_numeric_and_is_none_is_refused(build: Build, body: bytes):
    with pytest.raises(InvalidData) as caught:
        build(body, columns={"a": "numeric"})

    assert caught.value.faults[0].location == "row 1, column a"
    assert "is not a number" in caught.value.faults[0].message


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_recognised(build: Build, delimiter: str):
    assert build(f"a{delimiter}b\n1{delimiter}x\n".encode()).read() == [{"a": 1, "b": "x"}]


def test_quotes_may_hold_delimiters_newlines_and_quotes(build: Build):
    dataset = build(b'\xef\xbb\xbf"a, ""b""",c\r\n"1\n2","x,y"\r\n3",z\r\n')

    assert dataset.read() == [{'a, "b"': "1\n2", "c": "x,y"}, {'a, "b"': '3"', "c": "z"}]


def test_an_empty_line_is_a_missing_value_in_a_single_column_and_nothing_elsewhere(build: Build):
    assert [row["a"] for row in build(b"a\n1\n\n3\n").read()] == [1, None, 3]
    assert [row["a"] for row in build(b"a,b\n1,1\n\n3,3\n").read()] == [1, 3]


def test_gzip_is_known_by_its_content(build: Build):
    plain, packed = b"a,b\n1,x\n", gzip.compress(b"a,b\n1,x\n")

    assert build(packed).description.sha256 == build(plain).description.sha256
    assert build(packed, encoding="gzip").description.sha256 == build(plain).description.sha256


BAD = {
    "an empty file": (b"", "file", "empty"),
    "blank lines alone": (b"\n\n", "file", "empty"),
    "a header alone": (b"a,b\n", "file", "no rows"),
    "a header without its newline": (b"a,b", "file", "no rows"),
    "a short row": (b"a,b\n1,2\n3\n", "row 2", "1 values"),
    "a long row": (b"a,b\n1,2\n3,4\n5,6,7\n", "row 3", "3 values"),
    "a long row below blank lines": (b"\n\na,b\n1,2\n5,6,7\n", "row 2", "3 values"),
    "an open quote below a delimiter": (b'sep=,\na,b\n1,x\n2,"y\n3,z\n', "row 2", "never closed"),
    "a ragged first row": (b"a,b\n1\n", "row 1", "1 values"),
    "two columns of one name": (b"a,b,a\n1,2,3\n", "header, column 3", "named 'a'"),
    "a column without a name between others": (b"a,,b\n0,1,2\n", "header, column 2", "no name"),
    "names or values": (b"country,2019,2020\nFrance,1,2\n", "header", "say header=true or header=false"),
    "counted columns": (b"0,1,2\n5,6,7\n", "header", "say header=true or header=false"),
    "invalid UTF-8": (b"a,b\n1,ok\n2,\xff\xfe\n", "row 2, column b", "UTF-8"),
    "invalid UTF-8 in the header": (b"a,\xff\n1,2\n", "header, column 2", "save the file as UTF-8, or say which"),
    "a NUL byte": (b"a,b\n1,x\n2,y\x00\n", "row 2, column b", "NUL"),
    "a number too large": (b"a,b\n1,1\n1e39,2\n", "row 2, column a", "1e+39 is too large"),
    "a number beyond a double": (b"a,b\n1,1\n1e400,2\n", "row 2, column a", "the number is infinite, or too large"),
    "an infinity": (b"a,b\n1.5,1\n-inf,2\n", "row 2, column a", "too large"),
    "a quote left open": (b'a,b\n1,x\n2,"y\n3,z\n4,w\n', "row 2", "never closed"),
    "a truncated gzip": (gzip.compress(b"a,b\n" + b"1,2\n" * 999)[:-12], "file", "truncated"),
    "a damaged gzip": (gzip.compress(b"a,b\n1,2\n")[:-8] + bytes(8), "file", "gzip stream is damaged"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_its_place_is_named(build: Build, case: str):
    body, location, message = BAD[case]

    with pytest.raises(InvalidData) as caught:
        build(body)

    assert caught.value.faults[0].location == location
    assert message in caught.value.faults[0].message


WIDE = ",".join(f"c{number}" for number in range(300_000)).encode()
LONG = {
    "a header": (WIDE + b"\n" + b"1," * 299_999 + b"1\n", "its first row"),
    "a header below a blank line": (b"\n" + WIDE + b"\n", "its first row"),
    "a header alone": (WIDE, "its first row"),
    "a row": (b"a,b\n1,2\n3," + b"x" * (5 << 20) + b"\n", "one row"),
}


@pytest.mark.parametrize("case", LONG)
def test_a_row_that_is_too_long_is_told_so_whether_or_not_a_quote_is_open(build: Build, case: str):
    body, which = LONG[case]

    with pytest.raises(InvalidData) as caught:
        build(body)

    assert caught.value.faults[0].location == "file"
    assert caught.value.faults[0].message.startswith(f"{which} is longer than 2 MiB, the most that is read; shorten it")


def test_text_in_a_column_declared_numeric_names_every_row(build: Build):
    with pytest.raises(InvalidData) as caught:
        build(b"a,b\n1,x\nold,y\n3,z\nnew,w\n", columns={"a": "numeric"})

    assert [(fault.location, fault.message) for fault in caught.value.faults] == [
        ("row 2, column a", '"old" is not a number'),
        ("row 4, column a", '"new" is not a number'),
    ]


def test_a_late_fault_is_found_beyond_the_first_block(build: Build, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 256)

    for bad, location in [
        (b"1,2,3\n", "row 501"),
        (b"x,2\n", "row 501, column a"),
        (b"1,\xff\n", "row 501, column b"),
    ]:
        with pytest.raises(InvalidData) as caught:
            build(b"a,b\n" + b"1,t\n" * 500 + bad, columns={"a": "numeric"})
        assert caught.value.faults[0].location == location


def test_a_text_in_a_column_declared_boolean_is_refused(build: Build):
    with pytest.raises(InvalidData) as caught:
        build(b"a,b\nyes,1\nperhaps,2\n", columns={"a": "boolean"})

    assert caught.value.faults[0].location == "row 2, column a"


def test_a_declared_column_and_a_target_must_exist(build: Build):
    with pytest.raises(InvalidRequest) as caught:
        build(b"a,b\n1,2\n", columns={"z": "numeric"}, target="y")

    assert {fault.location for fault in caught.value.faults} == {"columns.z", "target"}


def test_a_gzip_bomb_stops_at_the_limit(build: Build, tmp_path: Path):
    with pytest.raises(OnelayerError) as caught:
        build(gzip.compress(b"a\n" + b"0\n" * 10_000_000), limit=1 << 20)

    assert caught.value.status == 413
    assert max(file.stat().st_size for file in tmp_path.rglob("*.unpacked")) < 8 << 20


def test_an_encoding_that_is_declared_must_be_true_and_known(build: Build):
    with pytest.raises(InvalidData):
        build(b"a,b\n1,2\n", encoding="gzip")
    with pytest.raises(OnelayerError) as caught:
        build(b"a,b\n1,2\n", encoding="br")
    assert caught.value.status == 415


DIALECTS = {
    "semicolons beside decimal commas": (b"a;b\n1,5;x\n2,5;y\n", [{"a": "1,5", "b": "x"}, {"a": "2,5", "b": "y"}]),
    "decimal commas alone": (b"1,5;2,5\n3,5;4,5\n", [{"x1": "1,5", "x2": "2,5"}, {"x1": "3,5", "x2": "4,5"}]),
    "decimal commas below a comma in a name": (b"Preis, EUR;Menge\n1,5;3\n2,5;4\n", [
        {"Preis, EUR": "1,5", "Menge": 3}, {"Preis, EUR": "2,5", "Menge": 4},
    ]),
    "decimal commas between tabs": (b"a, b\tc\n1,5\t2,5\n", [{"a, b": "1,5", "c": "2,5"}]),
    "commas beside texts with semicolons": (b"a,b;c\n1,x;y\n2,z;w\n", [{"a": 1, "b;c": "x;y"}, {"a": 2, "b;c": "z;w"}]),
    "commas inside the header's quotes": (b'"a, b, c";d\n1;2\n', [{"a, b, c": 1, "d": 2}]),
    "single quotes": (b"'a','b'\n'it,s','x'\n", [{"a": "it,s", "b": "x"}]),
    "an apostrophe": (b"a,b\nit's,x\n", [{"a": "it's", "b": "x"}]),
    "feet beside quotes": (b'id,name,height\n1,"Smith",6\'\n2,"Smith, J",5\'\n', [
        {"id": 1, "name": "Smith", "height": "6'"}, {"id": 2, "name": "Smith, J", "height": "5'"},
    ]),
    "single quotes in quotes": (b"a,b,c\n1,\"['a','b','c','d']\",2\n", [{"a": 1, "b": "['a','b','c','d']", "c": 2}]),
    "quotes in single quotes": (b'a,b,c\n1,\'["a","b","c"]\',2\n', [{"a": 1, "b": '["a","b","c"]', "c": 2}]),
    "words that begin with an apostrophe": (b"a,b\n's-Hertogenbosch,\"1,5\"\n't Gooi,2\n", [
        {"a": "'s-Hertogenbosch", "b": "1,5"}, {"a": "'t Gooi", "b": "2"},
    ]),
    "single quotes over lines": (b"a,b\n1,'x\n''y'' z'\n", [{"a": 1, "b": "x\n'y' z"}]),
    "UTF-16 with its mark": ("a,b\n1,é\n".encode("utf-16"), [{"a": 1, "b": "é"}]),
    "no header": (b"5.1,3.5,setosa\n4.9,3.0,virginica\n", [
        {"x1": 5.1, "x2": 3.5, "x3": "setosa"}, {"x1": 4.9, "x2": 3.0, "x3": "virginica"},
    ]),
    "years above numbers, beside a name": (b"id,2019,2020\n7,1,2\n", [{"id": 7, "2019": 1, "2020": 2}]),
}  # fmt: skip


@pytest.mark.parametrize("case", DIALECTS)
def test_the_dialect_is_found_in_the_file(build: Build, case: str):
    body, rows = DIALECTS[case]

    assert build(body).read() == rows


CHOSEN = {
    "a delimiter": (b"a:b,c\n1:2,3\n", {"delimiter": ":"}, [{"a": 1, "b,c": "2,3"}]),
    "a decimal comma": (b"1,5;2,5\n3,5;x\n", {"decimal": ","}, [{"x1": 1.5, "x2": "2,5"}, {"x1": 3.5, "x2": "x"}]),
    "a decimal comma that is in a name, too": (b"a, b;c, d\n1,5;2\n", {"decimal": ","}, [{"a, b": 1.5, "c, d": 2}]),
    "a decimal comma that is in texts, too": (b"a, b;c\n1,5;x, y\n", {"decimal": ","}, [{"a, b": 1.5, "c": "x, y"}]),
    "a delimiter by its name": (b"a b\n1 2\n", {"delimiter": "space"}, [{"a": 1, "b": 2}]),
    "a delimiter between single quotes": (b"'a b' c\n'1 2' 3\n", {"delimiter": "space"}, [{"a b": "1 2", "c": 3}]),
    "no quotes": (b'a,b\n5",x\n', {"quote": "none"}, [{"a": '5"', "b": "x"}]),
    "an encoding": ("a,b\n1,é\n".encode("windows-1252"), {"encoding": "windows-1252"}, [{"a": 1, "b": "é"}]),
    "names that are years": (b"country,2019\nFrance,1\n", {"header": True}, [{"country": "France", "2019": 1}]),
    "values that look like names": (b"a,b\nc,d\n", {"header": False}, [{"x1": "a", "x2": "b"}, {"x1": "c", "x2": "d"}]),
}  # fmt: skip


@pytest.mark.parametrize("case", CHOSEN)
def test_the_client_may_say_the_dialect(build: Build, case: str):
    body, options, rows = CHOSEN[case]

    assert build(body, csv=CsvOptions(**options)).read() == rows


def test_the_dialect_that_was_effective_is_kept(build: Build):
    found = {"name": "csv", "delimiter": ";", "quote": '"', "encoding": "utf-8", "header": True, "decimal": "."}

    assert build(b"a;b\n1;2\n").description.format == found


MISTAKEN = {
    "no header where one is promised": (b"5.1,3.5\n4.9,3.0\n", {"header": True}, "header", "column names"),
    "a ragged row without a header": (b"1.5,2\n3\n", {"header": False}, "row 2", "the first row has 2"),
    "a wrong quote": (b"a,b\n'x,y',1\n", {"quote": '"'}, "row 1", "3 values"),
    "an open quote without a header": (b'a,1\n"b,2\n', {"header": False}, "row 2", "never closed"),
    "text of another encoding": (b"a\nx\n\xff\n", {"encoding": "shift_jis"}, "line 3", "shift_jis"),
    "UTF-16 without its last byte": ("a\nx\n".encode("utf-16")[:-1], {}, "line 2", "utf-16"),
}


@pytest.mark.parametrize("case", MISTAKEN)
def test_a_dialect_that_is_not_true_is_refused(build: Build, case: str):
    body, options, location, message = MISTAKEN[case]

    with pytest.raises(InvalidData) as caught:
        build(body, csv=CsvOptions(**options))

    assert caught.value.faults[0].location == location
    assert message in caught.value.faults[0].message


def test_an_encoding_that_is_no_text_is_refused(build: Build):
    with pytest.raises(InvalidRequest) as caught:
        build(b"a\n1\n", csv=CsvOptions(encoding="zip"))

    assert caught.value.faults[0].location == "encoding"
