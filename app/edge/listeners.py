"""Listeners: the sockets of the address to listen on, taken before anything else of a server is started."""

import errno
import os
import socket

BACKLOG = 2048
"""Connections that wait to be taken; whoever connects before the server is ready is among them."""

_LACKING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class CannotListen(Exception):
    """The address cannot be had; the text says why and what to do."""


def listen(host: str, port: int) -> list[socket.socket]:
    """A socket for each address that the host stands for: `localhost` may have two, of which a machine may lack one."""
    listeners: list[socket.socket] = []
    lacking: OSError | None = None
    try:
        for family, _, _, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            try:
                listeners.append(socket.create_server(address, family=family, backlog=BACKLOG))
            except OSError as error:
                if error.errno not in _LACKING:
                    raise
                lacking = error
        if lacking is not None and not listeners:
            raise lacking
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise CannotListen(_said(host, port, error)) from error
    return listeners


def url(host: str, listeners: list[socket.socket]) -> str:
    """Where clients find the server."""
    port = listeners[0].getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _said(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use; stop what listens there, or choose another --port (0 is a free one)."
    reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
    return f"It is not possible to listen on {host}, port {port}: {reason}; choose another --host or --port."
