"""Conditional requests: a client that names what it has is told when that is still so, instead of getting it again."""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from starlette.responses import Response


def _tags(
    request: Request,
    if_none_match: Annotated[  # for the document: of several lines the framework hands over one
        str | None,
        Header(
            alias="If-None-Match",
            description="The `ETag` of the reply that the client has; 304 if nothing has changed.",
            examples=[None],
        ),
    ] = None,
) -> list[str]:
    # A list may stand in one line or in several (RFC 9110, 5.3).
    return ",".join(request.headers.getlist("if-none-match")).split(",")


IfNoneMatch = Annotated[list[str], Depends(_tags)]

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "Nothing has changed (with `If-None-Match`)."}}


def etag(*parts: object) -> str:
    """A tag that changes with any of the parts. It is weak: the same state may be written in other bytes."""
    return f'W/"{hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()}"'


def matches(known: Iterable[str], tag: str) -> bool:
    """Whether the client has this state already."""
    tags = {one.strip().removeprefix("W/") for one in known}
    return "*" in tags or tag.removeprefix("W/") in tags


def unchanged(tag: str, **headers: str) -> Response:
    """The reply to a client that has it already. A `Vary` of the whole reply belongs to it too (RFC 9110, §15.4.5)."""
    return Response(status_code=304, headers={"ETag": tag, **headers})
