"""Conditional requests: a client that names what it has is told when that is still so, instead of getting it again."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Header
from starlette.responses import Response

IfNoneMatch = Annotated[
    list[str] | None,
    Header(
        alias="If-None-Match",
        description="The `ETag` of the reply that the client has; 304 if nothing has changed.",
        examples=[None],
    ),
]

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "Nothing has changed (with `If-None-Match`)."}}


def etag(*parts: object) -> str:
    """A tag that changes with any of the parts. It is weak: the same state may be written in other bytes."""
    return f'W/"{hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()}"'


def matches(known: Sequence[str] | None, tag: str) -> bool:
    """Whether the client has this state already."""
    if known is None:
        return False
    # A list may stand in one line or in several (RFC 9110, 5.3).
    tags = {one.strip().removeprefix("W/") for one in ",".join(known).split(",")}
    return "*" in tags or tag.removeprefix("W/") in tags


def unchanged(tag: str, **headers: str) -> Response:
    """The reply to a client that has it already. A `Vary` of the whole reply belongs to it too (RFC 9110, §15.4.5)."""
    return Response(status_code=304, headers={"ETag": tag, **headers})
