"""The suggestion for a field that no request has: the known one whose name is most like it."""

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel

LIKENESS = 0.7
"""How much of two names has to agree: `num_epochs` suggests `epochs`, `decay` does not suggest `delay_steps`."""
LONGEST_NAME = 64
"""Comparing takes time that grows with the square of the lengths."""


def field_like(name: str, kind: type[BaseModel]) -> str | None:
    """The field of a request of this kind, at whatever depth, that was most likely meant."""
    if len(name) > LONGEST_NAME:
        return None
    found = get_close_matches(name.lower(), _fields(kind), n=1, cutoff=LIKENESS)
    return found[0] if found else None


@cache
def _fields(kind: type[BaseModel]) -> tuple[str, ...]:
    return tuple(sorted(set(_properties(kind.model_json_schema()))))


def _properties(schema: Any) -> Iterator[str]:
    """The names under `properties`, wherever in a JSON schema."""
    if isinstance(schema, list):
        for item in schema:
            yield from _properties(item)
    elif isinstance(schema, dict):
        yield from schema.get("properties", {})
        for item in schema.values():
            yield from _properties(item)
