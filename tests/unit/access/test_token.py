"""The text of a key."""

import hashlib

import pytest

from app.access.scope import Scope
from app.access.token import Token, parse


def test_a_key_reads_back_as_it_was_made_and_no_two_are_alike() -> None:
    made = [Token.new() for _ in range(100)]

    assert [parse(str(token)) for token in made] == made
    assert len({token.key_id for token in made} | {token.secret for token in made}) == 200


def test_only_a_digest_of_the_secret_is_kept() -> None:
    token = Token.new()

    assert token.digest == hashlib.sha256(token.secret.encode()).digest()
    assert token.secret.encode() not in token.digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ol_",
        "ol_000000000000_",
        "xx_000000000000_" + "a" * 43,
        "ol_00000000000g_" + "a" * 43,
        "ol_000000000000_" + "a" * 42,
        "ol_000000000000_" + "a" * 44,
        "ol_000000000000_" + "a" * 42 + "\n",
        "ol_000000000000_" + "a" * 43 + "\n",
        " ol_000000000000_" + "a" * 43,
        "ol_000000000000_" + "ä" * 43,
        "OL_000000000000_" + "a" * 43,
    ],
)
def test_what_has_not_the_form_of_a_key_is_none(text: str) -> None:
    assert parse(text) is None


def test_a_scope_contains_those_before_it() -> None:
    contained = {str(scope): {str(other) for other in Scope if scope.contains(other)} for scope in Scope}

    assert contained == {
        "predict": {"predict"},
        "read": {"predict", "read"},
        "write": {"predict", "read", "write"},
        "admin": {"predict", "read", "write", "admin"},
    }
