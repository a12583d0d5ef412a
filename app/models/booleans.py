"""Booleans among numbers: NumPy would take them for 1 and 0, so they are looked for where a body may hold any."""

from collections.abc import Sequence
from typing import Any

from app.datasets.encoding import Encoding
from app.datasets.feature_encoding import ArrayFeature, Feature, NumericFeature
from app.datasets.literal import literal
from app.errors import Fault, InvalidInstances

_MOST_FAULTS = 10


def may_be_in(body: bytes) -> bool:
    """Whether a JSON text may hold any. A letter that is not there is told ten times as fast as a word."""
    return (b"f" in body and b"false" in body) or (b"r" in body and b"true" in body)


def refuse_booleans(encoding: Encoding, rows: Sequence[Any]) -> None:
    """Refuse true and false in the rows' numbers, by row and column. What else is wrong with a row is not seen here."""
    faults: list[Fault] = []
    for number, row in enumerate(rows, 1):
        if isinstance(row, list):
            faults += _faults(encoding.features, row, number)
        if len(faults) >= _MOST_FAULTS:
            break
    if faults:
        raise InvalidInstances(faults[:_MOST_FAULTS])


def _faults(features: Sequence[Feature], row: list[Any], number: int) -> list[Fault]:
    if isinstance(features[0], ArrayFeature):
        found = next(((i, v) for i, v in enumerate(_flat(row), 1) if isinstance(v, bool)), None)
        message = f"element {found[0]} is {literal(found[1])}, not a finite number" if found else ""
        return [Fault(f"row {number}, column {features[0].name}", message)] if found else []
    if bool not in map(type, row):
        return []
    return [
        Fault(f"row {number}, column {feature.name}", f"{literal(value)} is not a number")
        for feature, value in zip(features, row, strict=False)
        if isinstance(value, bool) and isinstance(feature, NumericFeature) and not feature.boolean
    ]


def _flat(values: list[Any]) -> list[Any]:
    while list in map(type, values):
        values = [value for part in values for value in (part if isinstance(part, list) else [part])]
    return values
