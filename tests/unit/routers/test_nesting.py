"""How deep the JSON of rows is nested."""

import json

import pytest
from hypothesis import given

from app.errors import InvalidRequest
from app.routers.json_body import depth
from app.routers.nesting import _most, check_nesting
from tests.unit.routers.test_json_body import values


@given(values)
def test_the_quick_look_never_takes_a_text_for_shallower_than_it_is(value: object):
    body = json.dumps(value).encode()

    assert _most(body) >= depth(body)


@pytest.mark.parametrize("body", [b'["]", ["]", [1]]]', b'{"a": "}", "b": {"c": "]", "d": [1]}}', b'["\\"]", [2]]'])
def test_brackets_in_texts_hide_none_that_open(body: bytes):
    assert _most(body) >= depth(body)


def test_many_rows_take_no_second_look():
    rows = [[0.5, {"a": 1}] for _ in range(1000)]

    assert _most(json.dumps({"instances": [[1.0, 2.0]] * 1000}).encode()) < 10
    assert _most(json.dumps({"records": [{"a": 1.0, "b": "]["}] * 1000}).encode()) < 3000
    check_nesting(json.dumps(rows).encode(), 3)


def test_what_is_nested_deeper_than_the_limit_is_refused():
    check_nesting(b"[" * 64 + b"]" * 64, 64)
    with pytest.raises(InvalidRequest, match="deeper than 64 levels"):
        check_nesting(b"[" * 65 + b"]" * 65, 64)
