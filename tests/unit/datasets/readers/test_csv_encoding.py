import pytest

from app.datasets.readers.csv_dialect import CsvOptions
from app.errors import InvalidData
from tests.unit.datasets.conftest import Build

ROWS = [{"a": 1, "b": "x"}, {"a": 2, "b": "é"}]
TEXT = "a,b\n1,x\n2,é\n"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("declared", [None, "utf-16", "itself"])
def test_utf_16_is_read_without_its_mark(build: Build, encoding: str, declared: str | None):
    options = CsvOptions(encoding=encoding if declared == "itself" else declared)

    dataset = build(TEXT.encode(encoding), csv=options)

    assert dataset.read() == ROWS
    assert dataset.description.format["encoding"] == encoding


def test_utf_32_may_have_no_mark_either(build: Build):
    assert build(TEXT.encode("utf-32-le"), csv=CsvOptions(encoding="utf-32")).read() == ROWS
    assert build(TEXT.encode("utf-32")).read() == ROWS


@pytest.mark.parametrize("declared", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_that_is_no_utf_16_is_refused_and_not_read_as_chinese(build: Build, declared: str):
    with pytest.raises(InvalidData) as caught:
        build(b"a,b\n1,x\n", csv=CsvOptions(encoding=declared))

    assert caught.value.faults[0].location == "encoding"
    assert declared in caught.value.faults[0].message


@pytest.mark.parametrize("declared", ["latin-1", "windows-1252", "gbk", "ascii", "utf-8"])
def test_the_mark_of_utf_8_wins_over_what_is_declared(build: Build, declared: str):
    dataset = build("näme,b\n1,é\n".encode("utf-8-sig"), csv=CsvOptions(encoding=declared))

    assert dataset.read() == [{"näme": 1, "b": "é"}]
    assert dataset.description.format["encoding"] == "utf-8"


def test_latin_1_has_the_characters_of_windows_where_it_has_none(build: Build):
    dataset = build(b"a,b\n1,\x80\n2,\x93\xe9\x94\n3,\x81\n", csv=CsvOptions(encoding="latin-1"))

    assert dataset.column("b").to_pylist() == ["€", "“é”", "\x81"]
    assert dataset.description.format["encoding"] == "iso8859-1"


BAD = {
    "a NUL in a ragged file": (b"a,b\n1,\0\n2\n", "line 2", "NUL byte"),
    "a NUL in the header": (b"a\0,b\n1,2\n", "header", "NUL byte"),
    "nothing but NULs": (b"\0\r\0\n\0\0", "file", "no text"),
    "NULs in a column of texts": (b"a,b\n1,x\n2,y\0\n", "row 2, column b", "encoding=utf-16-le"),
    "Latin-1 in a ragged file": (b"a,b\n1,2\n3,\xe9\n4\n", "line 3", "encoding"),
    "half a character at the end": (b"a,b\n1,x\n2\n3,\xc3", "line 4", "encoding"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_text_is_named_by_its_place(build: Build, case: str):
    body, location, message = BAD[case]

    with pytest.raises(InvalidData) as caught:
        build(body)

    assert caught.value.faults[0].location == location
    assert message in caught.value.faults[0].message
