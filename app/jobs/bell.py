"""The bell: one datagram on loopback that says "look at the database now".

It carries no truth. Losing one costs a polling interval, forging one costs a look.
"""

import socket
from collections.abc import Iterable
from contextlib import suppress

LOOPBACK = "127.0.0.1"


class Bell:
    """A loopback port of this process at which it can be woken, and from which it wakes others."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOOPBACK, 0))
        self._socket.setblocking(False)

    @property
    def port(self) -> int:
        """Where others can ring."""
        port: int = self._socket.getsockname()[1]
        return port

    def fileno(self) -> int:
        """For select and for an event loop's reader."""
        return self._socket.fileno()

    def ring(self, ports: Iterable[int], message: str = "") -> None:
        """Wake the processes at these ports; one that is gone is no matter."""
        for port in ports:
            with suppress(OSError):
                self._socket.sendto(message.encode(), (LOOPBACK, port))

    def drain(self) -> set[str]:
        """Every message that has arrived, without waiting."""
        messages = set()
        with suppress(BlockingIOError):
            while True:
                messages.add(self._receive())
        return messages

    def wait(self, seconds: float) -> bool:
        """Sleep until someone rings, at most `seconds`; says whether someone did."""
        self._socket.settimeout(seconds)
        try:
            self._receive()
        except TimeoutError:
            return False
        finally:
            self._socket.setblocking(False)
        self.drain()
        return True

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()

    def _receive(self) -> str:
        while True:
            try:
                return self._socket.recv(256).decode(errors="replace")
            except ConnectionRefusedError:
                # Linux reports here that a process we rang earlier is gone.
                continue
