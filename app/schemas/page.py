"""Pages of a list: newest first, an opaque cursor to the next."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field

from app.errors import Fault, InvalidRequest
from app.identifiers import is_id

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item] = Field(description="The items of this page, newest first.")
    next_cursor: str | None = Field(
        description="Give it as `cursor` to get the next page; null on the last one.", examples=[None]
    )


def page(rows: Sequence[Any], limit: int, body: Callable[[Any], Item]) -> Page[Item]:
    """A page of rows that were read one beyond the limit, to know whether more follow."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(items=[body(row) for row in shown], next_cursor=_encode(shown[-1].id) if more else None)


def before(cursor: str | None) -> str | None:
    """The id that a cursor stands for."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    if not is_id(text):
        raise InvalidRequest(Fault("cursor", "this is no next_cursor of a page"))
    return text


def _encode(row_id: str) -> str:
    return base64.urlsafe_b64encode(row_id.encode("ascii")).decode("ascii")
