"""Nesting: how deep the JSON of rows to predict goes, told in a fraction of the time that it takes to read them."""

from app.errors import Fault, InvalidRequest
from app.routers.json_body import depth

_OTHERS = bytes(set(range(256)) - set(b'[]{}"'))


def check_nesting(body: bytes, limit: int) -> None:
    """Refuse JSON that is nested too deep: what walks through it later would fall off the stack."""
    if _most(body) > limit and depth(body) > limit:
        raise InvalidRequest(Fault("body", f"arrays and objects are nested deeper than {limit} levels"))


def _most(body: bytes) -> int:
    """The depth or more: every opening counts, but one that follows a closing with no text between leads no deeper."""
    marks = body.translate(None, _OTHERS)
    return marks.count(b"[") + marks.count(b"{") - marks.count(b"][") - marks.count(b"}{")
