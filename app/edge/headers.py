"""Headers that every reply leaves with: what a browser must not do with it, unless the reply itself says otherwise."""

from collections.abc import Iterable

Header = tuple[bytes, bytes]

REQUEST_ID = b"x-request-id"

# A picture of ours styles itself and may hold pixels; nothing else is loaded, run, or framed.
POLICY = b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"

_ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_POLICY: Header = (b"content-security-policy", POLICY)


def completed(headers: Iterable[Header], request_id: bytes) -> list[Header]:
    """The headers of a reply with those that every reply has. A page brings its own content security policy."""
    found = [*headers, *_ALWAYS, (REQUEST_ID, request_id)]
    if not any(name.lower() == b"content-security-policy" for name, _ in found):
        found.append(_POLICY)
    return found
