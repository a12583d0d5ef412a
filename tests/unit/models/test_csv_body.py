from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.datasets.feature_encoding import CategoricalFeature, NumericFeature
from app.datasets.readers.csv_dialect import CsvOptions
from app.errors import Fault, InvalidData, InvalidInstances, InvalidRequest, OnelayerError
from app.models.bodies import CSV, answer_body
from app.models.prediction import PLAIN
from app.models.predictor import Loaded, Predictor
from tests.unit.models.conftest import Add

NUMBER = NumericFeature("n", 10.0)
TRUTH = NumericFeature("b", 0.25, boolean=True)
TEXT = CategoricalFeature("c", ("", "NA", "é"), (0.5, 0.25, 0.25), unknown_trained=False)


@pytest.fixture
def loaded(add: Add, predictor: Predictor) -> Loaded:
    """ŷ = n + 1000·b + 100 where c is empty, 200 where it says NA, 300 where é, 400 where it is missing."""
    weights = [[1.0], [1000.0], [100.0], [200.0], [300.0], [400.0]]
    add("m", weights=weights, bias=[0.0], features=[NUMBER, TRUTH, TEXT])
    return predictor.load("m")


def said(loaded: Loaded, body: bytes, **options: Any) -> list[float]:
    found: list[float] = answer_body(loaded, CSV, body, PLAIN, 1000, CsvOptions(**options)).predictions.tolist()
    return found


def test_a_quoted_text_is_a_category_and_a_quoted_number_may_be_missing(loaded: Loaded) -> None:
    body = b'n,b,c\n1,0,"NA"\n1,0,NA\n1,0,""\n1,0,\n"","","\xc3\xa9"\n"NA",1,"NA"\n'

    assert said(loaded, body) == [201.0, 401.0, 101.0, 401.0, 560.0, 1210.0]


def test_a_boolean_is_spelled_as_in_an_upload(loaded: Loaded) -> None:
    body = b"n,b,c\n" + b"".join(b"0,%s,NA\n" % text for text in (b"yes", b"T", b"1.0", b"no", b"F", b"0"))

    assert said(loaded, body) == [1400.0] * 3 + [400.0] * 3


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-8-sig"])
def test_other_encodings_are_read(loaded: Loaded, encoding: str) -> None:
    declared = {"encoding": "latin-1"} if encoding in ("latin-1", "utf-8-sig") else {}

    assert said(loaded, "n;b;c\n1;0;é\n".encode(encoding), **declared) == [301.0]


@pytest.mark.parametrize(("value", "is_told"), [("40,5", True), ("-1,0", True), ("x", False), ("1,000,000", False)])
def test_a_decimal_comma_that_nobody_spoke_of_is_refused_with_how_to(loaded: Loaded, value: str, is_told: bool) -> None:
    with pytest.raises(InvalidInstances) as caught:
        said(loaded, f"n;b;c\n{value};1;NA\n".encode())

    (fault,) = caught.value.faults
    assert fault.location == "row 1, column n"
    assert fault.message.startswith(f'"{value}" is not a finite number')
    assert ("decimal=," in fault.message) == is_told


def test_single_quotes_and_decimal_commas_are_read(loaded: Loaded) -> None:
    assert said(loaded, "n,b,c\n1,0,'é'\n".encode()) == [301.0]
    assert said(loaded, "n,b,c\n1,0,\"é\"\n1,0,6'\n1,0,5'\n".encode())[0] == 301.0
    assert said(loaded, 'n,b,c\n"1,5",0,é\n,0,é\n'.encode(), decimal=",") == [301.5, 310.0]
    assert said(loaded, "n;b;c\n-1,5;0;é\n".encode(), decimal=",") == [298.5]


def test_a_blank_line_is_a_missing_value_of_the_only_feature(add: Add, predictor: Predictor) -> None:
    add("one", weights=[[1.0]], bias=[0.0], features=[NUMBER])

    assert said(predictor.load("one"), b"n\n1\n\n3\n") == [1.0, 10.0, 3.0]


@pytest.mark.parametrize(
    "body",
    [
        b"\r\nn,b,c\r\n1,0,NA\r\n",
        b"\xef\xbb\xbf\n\nn;b;c\n1;0;NA\n",
        b"sep=;\r\nn;b;c\r\n1;0;NA\r\n",
        b"\nSEP=:\n\nn:b:c\n1:0:NA\n",
        b"\n" * 200 + b"n,b,c\n1,0,NA\n",
    ],
)
def test_what_stands_before_the_header_is_no_row_as_in_an_upload(loaded: Loaded, body: bytes) -> None:
    assert said(loaded, body) == [401.0]


BAD: dict[str, tuple[bytes, dict[str, str], str, str]] = {
    "a row too short": (b"n,b,c\n1,0,x\n1,0\n", {}, "row 2", "2 values, but the header names 3"),
    "rows too long": (b"n,b,c\n1,0,x,y\n1,0,x,z\n", {}, "row 1", "4 values"),
    "Latin-1 that nobody declared": (b"n,b,c\n1,0,x\n1,0,\xe9\n", {}, "line 3", "encoding="),
    "a point beside decimal commas": (b"n;b;c\n1,5;0;x\n1.5;0;x\n", {"decimal": ","}, "row 2, column n", "has a point"),
    "a row too long below blank lines": (b"\n\nn,b,c\n1,0,x\n1,0,x,y\n", {}, "row 2", "4 values"),
    "no UTF-16": (b"n,b,c\n1,0,x\n", {"encoding": "utf-16"}, "encoding", "not utf-16"),
    "no encoding": (b"n,b,c\n1,0,x\n", {"encoding": "klingon"}, "encoding", "klingon"),
    "the numbers of the rows": (b",n,b,c\n0,1,0,x\n", {}, "column column1", "no such feature"),
    "nothing": (b"", {}, "body", "no first line"),
    "blank lines": (b"\r\n\r\n", {}, "body", "no first line"),
    "a delimiter and nothing else": (b"sep=;\n", {}, "body", "no first line"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_named_by_its_place(loaded: Loaded, case: str) -> None:
    body, options, location, message = BAD[case]

    with pytest.raises(OnelayerError) as caught:
        said(loaded, body, **options)

    faults: list[Fault] = list(caught.value.faults)
    assert (caught.value.status, faults[0].location) == (422, location)
    assert message in faults[0].message


VALUES = [
    "1",
    "0",
    "",
    "NA",
    '"NA"',
    '""',
    "x",
    "é",
    "1,5",
    "yes",
    "inf",
    "nan",
    '"',
    "'",
    "\0",
    "\r",
    "\n",
    "1e999",
    "\ufeff",
]
HEADERS = [["n", "b", "c"], ["c", "b", "n"], ["", "n", "b", "c"], ["n", "b"], ["n", "n", "b", "c"], ['"n"', "'b'", "c"]]


@st.composite
def nearly_csv(draw: st.DrawFn) -> bytes:
    rows = [draw(st.sampled_from(HEADERS))]
    rows += draw(st.lists(st.lists(st.sampled_from(VALUES), min_size=2, max_size=4), max_size=3))
    delimiter, end = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    body = end.join(delimiter.join(row) for row in rows) + end * draw(st.integers(0, 2))
    return body.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le"])), "replace")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=nearly_csv(), encoding=st.sampled_from([None, "latin-1", "utf-16"]), decimal=st.sampled_from([None, ","]))
@example(body=b"n,b,c\n1,0,\0\n", encoding=None, decimal=None)
def test_a_body_has_an_answer_or_is_refused(
    loaded: Loaded, body: bytes, encoding: str | None, decimal: str | None
) -> None:
    with suppress(InvalidInstances, InvalidData, InvalidRequest):
        assert np.isfinite(said(loaded, body, encoding=encoding, decimal=decimal)).all()
