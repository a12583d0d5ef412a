"""The head of a request: what HTTP asks of every one, and the parser does not look at."""

import re
from collections.abc import Iterable

from app.edge.headers import Header
from app.errors import BadRequest, Unimplemented, VersionNotSupported

OLD = "1.0"
"""The version that knows neither chunks nor what has to be asked before a body is sent."""

_VERSIONS = (OLD, "1.1")
_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.%_~-]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")


def check(version: str, method: bytes, headers: Iterable[Header]) -> None:
    """Refuse a request of another version, for a tunnel, of no host or several, or in a coding that is not undone."""
    if version not in _VERSIONS:
        raise VersionNotSupported(version)
    if method == b"CONNECT":
        raise Unimplemented("This server is no proxy: it opens no tunnels.")
    hosts, codings = [], []
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"transfer-encoding":
            codings.append(value.strip().lower())
    _check_host(hosts, version)
    if codings and version == OLD:
        raise BadRequest("HTTP/1.0 knows no Transfer-Encoding; say how long the body is by Content-Length.")
    if codings and codings != [b"chunked"]:
        raise Unimplemented("Of the transfer codings this server knows chunked alone; compress by Content-Encoding.")


def _check_host(hosts: list[bytes], version: str) -> None:
    """One host, as RFC 9112 (section 3.2) has it."""
    if len(hosts) > 1 or (not hosts and version != OLD):
        raise BadRequest("A request has to have one Host header, and one alone.")
    if hosts and not _HOST.fullmatch(hosts[0].strip()):
        raise BadRequest("The Host header holds no name or address, with a port or without.")


def without_upgrade(version: str, method: bytes, url: bytes, headers: Iterable[Header]) -> bytes:
    """The head as it would be of a client that speaks nothing but HTTP/1."""
    kept = b"".join(b"%b: %b\r\n" % (name, value) for name, value in headers if name != b"upgrade")
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, url, version.encode(), kept)
