"""JSON bodies and their limits."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest, TooLarge
from app.routers.json_body import check, check_width, depth

values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max((depth_of(inner) for inner in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth_of(inner) for inner in value), default=0)
    return 0


@given(values, st.booleans())
def test_the_depth_is_that_of_the_value_whatever_its_texts_hold(value: object, ascii_only: bool):
    assert depth(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")) == depth_of(value)


def test_brackets_in_texts_are_no_depth():
    body = json.dumps({"a": "[[[[[[" + '\\"{{{{', "]]]]": ["}}}}"]}).encode()

    assert depth(body) == 2
    check(body, 1000, 2)


def test_what_is_nested_too_deep_is_refused():
    with pytest.raises(InvalidRequest, match="deeper than 64 levels"):
        check(b"[" * 65 + b"]" * 65, 1000, 64)

    check(b"[" * 64 + b"]" * 64, 1000, 64)
    check(b"[[],[]" * 30, 1000, 64)


def test_closing_what_was_never_open_hides_nothing():
    with pytest.raises(InvalidRequest):
        check(b'{"a": "]]]]]]]]]]]]]]]", "b": ' + b"[" * 10 + b"]" * 10 + b"}", 1000, 10)


def test_what_is_too_large_is_refused_before_it_is_read():
    with pytest.raises(TooLarge, match="may have 10 bytes"):
        check(b"[" * 11, 10, 64)


def test_an_object_with_a_million_fields_is_refused():
    check_width({str(number): 0 for number in range(1000)})
    with pytest.raises(InvalidRequest, match="not 1001"):
        check_width({str(number): 0 for number in range(1001)})


def test_text_that_looks_like_endless_quotes_takes_no_time():
    harmless = seconds(b'"' + b"a" * 39_998 + b'"')

    # It takes about three times as long, and thirty thousand times where each quote is looked at anew.
    assert seconds(b'"\\' * 20_000) < 300 * harmless
    assert seconds(b'"' + b"\\" * 39_999) < 300 * harmless


def seconds(body: bytes) -> float:
    """What finding the depth of a body takes of the processor, whoever else uses it."""
    began = time.thread_time()
    depth(body)
    return time.thread_time() - began
