"""The suggestion for a field or a name that there is not: the known one that is most like it."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel

LIKENESS = 0.7
"""How much of two names has to agree: `num_epochs` suggests `epochs`, `decay` suggests nothing."""
LONGEST_NAME = 64
"""Comparing takes time that grows with the square of the lengths."""

Schema = dict[str, Any]


def field_like(way: Sequence[str | int], kind: type[BaseModel]) -> str | None:
    """The field that was meant, most likely, by the last step of a way into a request, as pydantic tells ways."""
    *inwards, name = way
    if not isinstance(name, str):
        return None
    document = _schema(kind)
    objects = list(_objects(document, document))
    for step in inwards:
        objects = list(_enter(objects, step, document))
    known = sorted({field for schema in objects for field in schema.get("properties", {})})
    return name_like(name.lower(), known)


def name_like(name: str, known: Iterable[str]) -> str | None:
    """The one of some names that was most likely meant."""
    found = get_close_matches(name[:LONGEST_NAME], known, n=1, cutoff=LIKENESS)
    return found[0] if found else None


@cache
def _schema(kind: type[BaseModel]) -> Schema:
    return kind.model_json_schema()


def _enter(objects: Sequence[Schema], step: str | int, document: Schema) -> Iterator[Schema]:
    """The objects that lie one step further in. The tag of a union is no step: it says which of them is meant."""
    inner = [schema["properties"][step] for schema in objects if step in schema.get("properties", {})]
    if inner:
        for schema in inner:
            yield from _objects(schema, document)
    elif isinstance(step, int):
        for schema in objects:
            yield from _objects(schema.get("items", {}), document)
    else:
        tagged = [schema for schema in objects if schema.get("properties", {}).get("type", {}).get("const") == step]
        yield from tagged or objects


def _objects(schema: Schema, document: Schema) -> Iterator[Schema]:
    """A schema, or all that it may be instead."""
    if "$ref" in schema:
        yield from _objects(document["$defs"][schema["$ref"].rsplit("/", 1)[1]], document)
    elif choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        for choice in choices:
            yield from _objects(choice, document)
    else:
        yield schema
