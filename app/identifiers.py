"""Identifiers and names: how every dataset, job and model is called."""

import re
from uuid import UUID

from uuid_utils.compat import uuid7

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""A name: what a person calls a dataset or a model. `:` and `@` are kept for versions and aliases."""
NAME_RULE = "a name has 1 to 100 letters, digits, '.', '_' and '-', and begins with a letter or a digit"

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """A UUIDv7: unique, and sorting by it sorts by time of creation."""
    return str(uuid7())


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id, so that no name may look like one."""
    if not _UUID.fullmatch(text):
        return False
    return UUID(text).version == 7


def can_be_called(text: str) -> bool:
    """Whether anything can have this name, id or reference: databases refuse to look for what is no text."""
    return text.isprintable()


def is_name(text: str) -> bool:
    """Whether `text` may be given as a name."""
    return re.fullmatch(NAME_PATTERN, text) is not None and not _UUID.fullmatch(text)
