"""Cross-origin requests: closed unless the settings name the origins whose pages may call."""

from collections.abc import Sequence
from typing import Any

EXPOSED = ("ETag", "Location", "Preference-Applied", "Retry-After", "X-Request-ID")


def cross_origin(origins: Sequence[str]) -> dict[str, Any]:
    """The options of Starlette's layer. Keys travel in a header, so no cookie is ever allowed along."""
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
        "allow_headers": [
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-None-Match",
            "Last-Event-ID",
            "Prefer",
            "X-Request-ID",
        ],
        "expose_headers": list(EXPOSED),
        "max_age": 600,
    }
