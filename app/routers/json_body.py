"""JSON bodies: read within limits, strictly, before anything is made of them.

A deep nesting or a million fields cost the reader little and whoever validates them much.
"""

import re
from codecs import BOM_UTF8
from typing import Any

import numpy as np
import orjson
from fastapi import Request, params
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.errors import Fault, InvalidRequest, TooLarge, UnsupportedMediaType
from app.routers.guard import GuardedRoute, Handler
from app.routers.reception import check_plain
from app.routers.unpacking import unpacked

# A text that never ends is taken until the end: looking again from each of its quotes would take for ever.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
MOST_FIELDS = 1000
_OPENING, _CLOSING = b"[{", b"]}"


def depth(body: bytes) -> int:
    """How deep the arrays and objects of a JSON text are nested."""
    found = np.frombuffer(_STRINGS.sub(b"", body), np.uint8)
    found = found[np.isin(found, list(_OPENING + _CLOSING))]
    steps = np.where(np.isin(found, list(_OPENING)), 1, -1)
    return int(np.cumsum(steps).max(initial=0))


def is_json(content_type: str) -> bool:
    """Whether a Content-Type is one of JSON (RFC 6839: whatever ends in +json is)."""
    essence = content_type.partition(";")[0].strip().lower()
    return essence == "application/json" or (essence.startswith("application/") and essence.endswith("+json"))


def loads(body: bytes) -> Any:
    """A JSON text, which is UTF-8 (RFC 8259, 8.1); a byte order mark before it is passed over."""
    return orjson.loads(body.removeprefix(BOM_UTF8))


def check_media_type(request: Request) -> None:
    """Refuse a body that does not say that it is JSON; where there is none, there is nothing to say."""
    content_type = request.headers.get("content-type", "")
    has_body = "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"
    if has_body and not is_json(content_type):
        said = f"not {content_type[:100]!r}" if content_type else "which is missing"
        raise UnsupportedMediaType(f"This call reads JSON; send it with Content-Type: application/json, {said}.")


def check_width(asked: Any) -> None:
    """Refuse an object with more fields than any has here: each unknown one would be a fault of its own."""
    if isinstance(asked, dict) and len(asked) > MOST_FIELDS:
        raise InvalidRequest(Fault("body", f"an object here has a few fields, not {len(asked)}"))


def check(body: bytes, limit_bytes: int, limit_depth: int) -> None:
    """Refuse a JSON body that is too large or too deep."""
    if len(body) > limit_bytes:
        raise TooLarge(f"The JSON body of this request may have {limit_bytes} bytes; it has {len(body)}.")
    openings = body.count(b"[") + body.count(b"{")
    if openings > limit_depth and depth(body) > limit_depth:
        raise InvalidRequest(Fault("body", f"arrays and objects are nested deeper than {limit_depth} levels"))


class StrictRequest(Request):
    """A request whose JSON body is unpacked and read strictly: NaN and Infinity are none, nor what exceeds a double."""

    _unpacked: bytes | None = None

    async def body(self) -> bytes:
        """The body, as it was before the client compressed it."""
        if self._unpacked is None:
            packed, encoding = await super().body(), self.headers.get("content-encoding")
            limit = self.app.state.services.settings.json_limit_bytes
            plain = encoding is None
            self._unpacked = packed if plain else await run_in_threadpool(unpacked, packed, encoding, limit)
        return self._unpacked

    async def json(self) -> Any:
        """The body."""
        return loads(await self.body())


class LimitedRoute(GuardedRoute):
    """A route whose JSON body is read so."""

    def admitted(self) -> Handler:
        """The handler, on a limited request."""
        handle = super().admitted()
        takes_form = self.body_field is not None and isinstance(self.body_field.field_info, params.Form)
        takes_json = self.body_field is not None and not takes_form

        async def answer(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            if takes_json:
                check_media_type(strict)
                settings = request.app.state.services.settings
                check(await strict.body(), settings.json_limit_bytes, settings.json_depth_limit)
            if takes_form:
                check_plain(strict)
            return await handle(strict)

        return answer
