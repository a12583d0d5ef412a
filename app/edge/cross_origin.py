"""Cross-origin requests: closed unless the settings name the origins whose pages may call."""

from collections.abc import Iterator, Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from app import problems
from app.errors import BadRequest

ACCEPTED = (
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Inference-Header-Content-Length",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "X-Request-ID",
)
"""What a page may send beside what it always may."""

EXPOSED = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotency-Replayed",
    "Inference-Header-Content-Length",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
)
"""What a page may read beside what it always may."""


class CrossOrigin(CORSMiddleware):
    """Starlette's layer, whose refusals say what is refused."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser may send on behalf of a page."""
        reply = super().preflight_response(request_headers)
        if reply.status_code == 200:
            return reply
        refused = "; ".join(self._refused(request_headers)) or "the server is not open to private networks"
        kept = {name: value for name, value in reply.headers.items() if not name.startswith("content-")}
        return problems.response(BadRequest(f"A page may not send this request: {refused}.", headers=kept))

    def _refused(self, asked: Headers) -> Iterator[str]:
        origin, method = asked["origin"], asked["access-control-request-method"]
        if not self.is_allowed_origin(origin):
            yield f"its origin {origin!r} is none of those that ONELAYER_CORS_ORIGINS names"
        if method not in self.allow_methods:
            yield f"the method {method!r} is none of {', '.join(self.allow_methods)}"
        names = [name.strip() for name in asked.get("access-control-request-headers", "").split(",")]
        if strangers := [name for name in names if name and name.lower() not in self.allow_headers]:
            yield f"the header {', '.join(strangers)} is none of {', '.join(ACCEPTED)}"


def cross_origin(origins: Sequence[str]) -> dict[str, Any]:
    """The options of the layer. Keys travel in a header, so no cookie is ever allowed along."""
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
        "allow_headers": list(ACCEPTED),
        "expose_headers": list(EXPOSED),
        "max_age": 600,
    }
