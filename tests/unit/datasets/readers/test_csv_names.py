import pytest

from app.datasets.readers.csv_dialect import CsvOptions
from app.errors import InvalidData
from tests.unit.datasets.conftest import Build

ACCEPTED = {
    "the numbers of the rows, as pandas writes them": (b",a,b\n0,1,2\n1,3,4\n", ["column1", "a", "b"]),
    "in quotes": (b'"","a","b"\n"0",1,2\n', ["column1", "a", "b"]),
    "a delimiter at each line's end": (b"a,b,\n1,2,\n3,4,\n", ["a", "b", "column3"]),
    "cells that a spreadsheet left empty": (b"a,b,,\n1,2,,\n3,4,,\n", ["a", "b", "column3", "column4"]),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_column_at_the_edge_may_have_no_name_and_is_no_feature(build: Build, case: str):
    body, names = ACCEPTED[case]

    dataset = build(body)

    assert list(dataset.kinds) == names
    assert {name: kind.value for name, kind in dataset.kinds.items()} == {
        name: "ignore" if name.startswith("column") else "numeric" for name in names
    }


def test_the_client_may_say_what_an_unnamed_column_means(build: Build):
    assert build(b",a\nx,1\ny,2\n", columns={"column1": "categorical"}).kinds["column1"] == "categorical"
    assert build(b"a,\n1,2\n").kinds["column2"] == "numeric"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_line_in_which_a_spreadsheet_says_its_delimiter_is_no_row(build: Build, end: bytes):
    dataset = build(end.join([b"sep=|", b"a|b,c", b"1|2", b""]))

    assert dataset.read() == [{"a": 1, "b,c": 2}]
    assert dataset.description.format["delimiter"] == "|"
    assert build(end.join([b"", b"SEP=;", b"", b"a", b"1", b""])).read() == [{"a": 1}]


def test_blank_lines_before_the_only_column_are_nothing(build: Build):
    assert build(b"\n\r\na\n1\n2\n").read() == [{"a": 1}, {"a": 2}]


NAMES = {
    "a missing number": (b"nan,a\n1,2\n3,4\n", ["nan", "a"]),
    "an infinity": (b"inf,Infinity\n1,2\n3,4\n", ["inf", "Infinity"]),
    "alone": (b"nan\n1\n2\n", ["nan"]),
    "an underscore between digits": (b"1_000,1_0\n1,2\n3,4\n", ["1_000", "1_0"]),
    "beside years": (b"id,nan,2019\n1,2,3\n2,4,5\n", ["id", "nan", "2019"]),
    "above missing numbers": (b"id,2019,2020\n1,nan,3\n2,4,NA\n", ["id", "2019", "2020"]),
}


@pytest.mark.parametrize("case", NAMES)
def test_what_python_takes_for_a_number_may_be_a_name(build: Build, case: str):
    body, names = NAMES[case]

    assert list(build(body).kinds) == names


@pytest.mark.parametrize("first", [b"nan,1.5,2", b"2,NA,2", b"nan,5,7", b"1.5,,2"])
def test_numbers_beside_a_missing_one_are_no_names(build: Build, first: bytes):
    dataset = build(first + b"\n1,2,3\n2,3,4\n")

    assert list(dataset.kinds) == ["x1", "x2", "x3"]


BAD = {
    "a column that has the number's name": (b",column1\n1,2\n", "header, column 2", "'column1'; rename one"),
    "two names alike": (b"a,b,a\n1,2,3\n", "header, column 3", "rename one"),
    "no name between names": (b"a,,c\n1,2,3\n", "header, column 2", "give it one"),
    "no name at all": (b" , \n1,2\n", "header, column 1", "header=false"),
    "a comment before the header": (b"# from the shop, today\na,b,c\n1,2,3\n", "header", "lines of comment"),
    "a comment among the rows": (b"a,b\n1,2\n# half of it\n3,4\n", "row 2", "lines of comment"),
    "a delimiter and nothing else": (b"sep=;\n", "file", "no row"),
    "a thousand blank lines": (b"\n" * 3000 + b"a\n1\n", "file", "blank"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_header_that_cannot_be_is_refused_with_the_way_out(build: Build, case: str):
    body, location, message = BAD[case]

    with pytest.raises(InvalidData) as caught:
        build(body, csv=CsvOptions(header=True))

    assert caught.value.faults[0].location == location
    assert message in caught.value.faults[0].message
