"""The entrance: who needs a key, and when a server opens without one.

Whoever sits at the machine itself needs none by default, as with a program on a desk. A request is taken for theirs if
it comes from a loopback address, asks for a loopback name, and shows no sign of a proxy or of a web page from
elsewhere: a page out of the internet can send requests to this machine, and can have its own name point here.
"""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

from app.access import keys
from app.migrate import made
from app.settings import Settings

_BY_PROXIES = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"via")
_TELLING = frozenset((b"host", b"origin", *_BY_PROXIES))


class NoKey(Exception):
    """The server would listen to others, and has no key to tell them from strangers."""


def needs_key(settings: Settings) -> bool:
    """Whether every request needs a key, wherever it comes from."""
    return settings.auth == "required" or (settings.auth == "auto" and not is_loopback(settings.host))


def open_for(settings: Settings) -> str | None:
    """See to it that whoever is meant to use the server can. Returns the first key, if one was made."""
    if not needs_key(settings):
        return None
    database = made(settings)
    try:
        first = keys.create_first(database) if settings.first_key else None
        if not keys.some_key_counts(database):
            raise NoKey(_refusal(settings))
    finally:
        database.dispose()
    return str(first) if first is not None else None


def _refusal(settings: Settings) -> str:
    is_asked_for = settings.auth == "required"
    reason = "ONELAYER_AUTH=required asks everyone for" if is_asked_for else f"Listening on {settings.host} needs"
    return (
        f"{reason} a key, and there is none that counts. Make one:\n\n"
        f"    onelayer keys create --scope admin --data-dir {settings.data_dir}\n\n"
        f"{'or' if is_asked_for else 'or listen on 127.0.0.1, or'} let everyone in who can reach the server: --no-auth."
    )


def why_not_local(request: Mapping[str, Any]) -> str | None:
    """What shows that a request may come from elsewhere than this machine; None if nothing does."""
    client = request.get("client")
    if client is None or not is_loopback(client[0]):
        return "it does not come from this machine"
    for name, value in request["headers"]:
        if name in _TELLING and (told := _told_by(name, value)) is not None:
            return told
    return None


@lru_cache(maxsize=256)
def _told_by(name: bytes, value: bytes) -> str | None:
    """What a header shows of it."""
    if name == b"host":
        return (
            None if is_loopback(_host(value)) else "it asks for this server by another name than that of this machine"
        )
    if name == b"origin":
        return None if is_loopback(_origin(value)) else "it comes from a web page of another origin"
    return "it comes through a proxy"


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine, as it stands: a name that would have to be looked up does not."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _host(value: bytes) -> str:
    """The host of a Host header, without the port."""
    text = value.decode("latin-1").strip()
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]


def _origin(value: bytes) -> str:
    """The host of an Origin header; none where it does not tell."""
    try:
        return urlsplit(value.decode("latin-1")).hostname or ""
    except ValueError:
        return ""
