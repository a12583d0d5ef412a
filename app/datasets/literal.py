"""A value as the message of a fault shows it: as JSON has it, in which most clients sent it."""

import json
from typing import Any

_LONGEST = 40


def literal(value: Any) -> str:
    """A value as JSON, cut where it is long; what JSON does not have, such as a date, as a text."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
