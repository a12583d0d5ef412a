"""Negotiation: which of the representations that a call offers the Accept header asks for (RFC 9110, §12.5.1)."""

from collections.abc import Sequence

from app.errors import NotAcceptable

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"


def negotiated(accept: str | None, offers: Sequence[str]) -> str:
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
        return media_type, float(quality)
    except ValueError:
        return media_type, 0.0


def _quality(offer: str, wishes: Sequence[tuple[str, float]]) -> float:
    """The quality that the most specific matching wish gives to an offer."""
    for pattern in (offer, f"{offer.partition('/')[0]}/*", "*/*"):
        for media_type, quality in wishes:
            if media_type == pattern:
                return quality
    return 0.0
