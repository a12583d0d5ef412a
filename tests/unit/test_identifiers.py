"""Ids and names."""

from uuid import UUID

import pytest

from app.identifiers import is_id, is_name, new_id


def test_ids_are_unique_and_sort_by_the_time_they_were_made():
    made = [new_id() for _ in range(10_000)]

    assert made == sorted(set(made))
    assert all(map(is_id, made))
    assert UUID(made[0]).version == 7


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fashion",
        "0190a4e0-0000-4000-8000-000000000000",
        "0190a4e000007000800000000000000",
        "{0190a4e0-0000-7000-8000-000000000000}",
    ],
)
def test_what_is_no_uuid_of_version_7_is_no_id(text: str):
    assert not is_id(text)


def test_an_id_with_a_newline_behind_it_is_no_id():
    assert not is_id(new_id() + "\n")


@pytest.mark.parametrize("text", ["a", "Fashion-MNIST", "a.b_c-1", "7", "x" * 100])
def test_a_name_is_letters_digits_dots_dashes(text: str):
    assert is_name(text)


@pytest.mark.parametrize("text", ["", "x" * 101, ".a", "-a", "_a", "a b", "a:2", "a@b", "a/b", "é", "a\n", "../a"])
def test_other_texts_are_no_names(text: str):
    assert not is_name(text)


def test_no_name_looks_like_an_id_of_any_version():
    assert not is_name(new_id())
    assert not is_name("0190a4e0-0000-4000-8000-000000000000")
