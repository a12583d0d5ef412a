import pytest

from app.datasets.notes import DATES, MANY_DIGITS, SPACES, ZEROS
from app.datasets.readers.csv_dialect import CsvOptions
from tests.unit.datasets.conftest import Build

SAID = {
    "decimal commas": (["1,5", "2", "1.234,75"], "decimal=, reads them"),
    "thousands": (["1,234", "12,345,678.9", "7"], "thousands"),
    "thousands with spaces": (["1 234", "12 345 678"], "thousands"),
    "percent": (["5%", "12.5 %"], "percent"),
    "dollars": (["$1,234.50", "$ 7"], "currency"),
    "euros": (["1.234,50 €", "7€"], "currency"),
    "one that is missing": (["1", "2", "3", "?"], "but '?' is not"),
}


@pytest.mark.parametrize("case", SAID)
def test_a_column_of_texts_that_look_like_numbers_says_so(build: Build, case: str):
    values, words = SAID[case]
    body = "\n".join(["a;b", *(f"{value};x{number}" for number, value in enumerate(values))])

    columns = build(body.encode(), csv=CsvOptions(delimiter=";")).description.columns

    assert columns[0]["kind"] == "categorical"
    assert words in columns[0]["note"]
    assert "note" not in columns[1]


COMMAS_SAID = {
    "thousands": (["1.234", "2.500", "7"], "thousands"),
    "thousands and commas": (["1.234", "2,5"], "thousands"),
    "decimal points": (["1.5", "2.25"], "with a decimal point, and are kept as texts; write them with a comma"),
    "one that is missing": (["1,5", "2", "3", "k.A."], "but 'k.A.' is not"),
}


@pytest.mark.parametrize("case", COMMAS_SAID)
def test_where_the_decimal_mark_is_a_comma_that_is_known(build: Build, case: str):
    values, words = COMMAS_SAID[case]
    body = "\n".join(["a;b", *(f"{value};1" for value in values)])

    column = build(body.encode(), csv=CsvOptions(delimiter=";", decimal=",")).description.columns[0]

    assert words in column["note"]


QUIET = [
    ["a1", "b2"],
    ["2020-01", "2020-02"],
    ["1-2", "3-4"],
    ["A,5", "B,6"],
    ["192.168.0.1", "10.0.0.1"],
    ["1", "a", "b"],
]


@pytest.mark.parametrize("values", QUIET)
def test_other_texts_have_no_note(build: Build, values: list[str]):
    assert "note" not in build({"a": values}).description.columns[0]


def test_who_declares_a_column_knows_it(build: Build):
    assert "note" not in build(b"a;b\n1,5;2\n", columns={"a": "categorical"}).description.columns[0]
    assert "note" not in build(b",a\n0,1\n", columns={"column1": "ignore"}).description.columns[0]
    assert "no name" in build(b",a\n0,1\n").description.columns[0]["note"]


def test_numbers_written_as_texts_are_told_where_the_format_has_types(build: Build):
    assert "declare it numeric" in build({"a": ["007", "8"]}).description.columns[0]["note"]


@pytest.mark.parametrize("values", [["2024-01-02", "2024-01-31"], ["2024-01-02 10:30:00", "2024-01-31T10:30:00"]])
def test_a_column_of_dates_says_that_it_is_left_out_and_what_to_do(build: Build, values: list[str]):
    body = "\n".join(["when,y", *(f"{value},1" for value in values)]).encode()

    when = build(body).description.columns[0]

    assert (when["kind"], when["note"]) == ("ignore", DATES)
    assert "note" not in build(body, columns={"when": "ignore"}).description.columns[0]


IDS = {
    "beyond 53 bits": ["9007199254740993", "9007199254740992"],
    "one of them": ["1", "9007199254740993"],
    "below zero": ["-9007199254740993", "1"],
    "beyond 63 bits": ["18446744073709551615", "18446744073709551614", "9223372036854775809"],
}


@pytest.mark.parametrize("case", IDS)
def test_whole_numbers_that_no_number_tells_apart_have_a_note(build: Build, case: str):
    body = "\n".join(["id,y", *(f"{value},1" for value in IDS[case])]).encode()

    assert build(body).description.columns[0]["note"] == MANY_DIGITS
    assert "note" not in build(body, columns={"id": "categorical"}).description.columns[0]


def test_numbers_that_begin_with_zeros_have_a_note(build: Build):
    body = b"zip;b;c;d;e\n00123;0;0.5;a0123;-007\n1;10;01.5;;3\n04567;1;2;02;1\n"

    columns = build(body).description.columns

    assert [column.get("note") for column in columns] == [ZEROS, None, None, None, ZEROS]
    assert "note" not in build(body, columns={"zip": "categorical"}).description.columns[0]
    assert build(b"00123;4\n5;6\n", csv=CsvOptions(header=False)).description.columns[0]["note"] == ZEROS


@pytest.mark.parametrize("values", [["9007199254740992", "1"], ["1.5e30", "2e30"], ["1e18", "0.5"], ["5e25", "6e25"]])
def test_quantities_have_no_note(build: Build, values: list[str]):
    assert "note" not in build("\n".join(["a", *values]).encode()).description.columns[0]


@pytest.mark.parametrize("body", [b"a b c\n1 2 3\n4 5.5 -6\n", b"a b c;d\n1 2 3;x\n", b"1 2 3\n4 5 6\n"])
def test_numbers_between_spaces_have_a_note_that_says_how_to_read_them(build: Build, body: bytes):
    assert build(body).description.columns[0]["note"] == SPACES


@pytest.mark.parametrize("body", [b"a b\n1 2 3\n", b"a b\n12 Main\n", b"a\n1 2\n", b"a b\n1  2\n"])
def test_other_texts_with_spaces_have_no_note(build: Build, body: bytes):
    assert "note" not in build(body).description.columns[0]
    assert "note" not in build({"a b": ["1 2", "3 4"]}).description.columns[0]
