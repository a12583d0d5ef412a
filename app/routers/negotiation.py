"""Negotiation: which of the representations that a call offers the Accept header asks for (RFC 9110, §12.5.1)."""

from collections.abc import Sequence
from functools import lru_cache

from fastapi import Request

from app.errors import NotAcceptable

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"

VARIES = {"Vary": "Accept"}
"""What a reply says whose representation was negotiated, so that no cache gives it to whoever asks for another."""


def preferred(request: Request, offers: tuple[str, ...]) -> str:
    """The offer that the client of a request likes best."""
    return negotiated(accept_of(request), offers)


def accept_of(request: Request) -> str | None:
    """The Accept header; several lines of it are one list (RFC 9110, §5.3)."""
    lines = [value for name, value in request.scope["headers"] if name == b"accept"]
    return b", ".join(lines).decode("latin-1") if lines else None


@lru_cache(maxsize=256)
def negotiated(accept: str | None, offers: tuple[str, ...]) -> str:
    """The offer that the client likes best; the first one where it does not care."""
    if accept is None or not accept.strip():
        return offers[0]
    wishes = [_wish(part) for part in accept.split(",")]
    best = max(offers, key=lambda offer: _quality(offer, wishes))
    if _quality(best, wishes) <= 0:
        raise NotAcceptable(f"This call answers in {', '.join(offers)}; the Accept header asks for none of them.")
    return best


def _wish(part: str) -> tuple[str, float]:
    media_type, *parameters = (piece.strip() for piece in part.lower().split(";"))
    quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
    try:
        value = float(quality)
    except ValueError:
        value = 0.0
    return media_type, value if 0 <= value <= 1 else 0.0


def _quality(offer: str, wishes: Sequence[tuple[str, float]]) -> float:
    """The quality that the most specific matching wish gives to an offer."""
    for pattern in (offer, f"{offer.partition('/')[0]}/*", "*/*"):
        for media_type, quality in wishes:
            if media_type == pattern:
                return quality
    return 0.0
