"""Listeners: an address is had before a server starts, or said to be taken."""

import socket
from collections.abc import Callable

import pytest

from app.edge.listeners import CannotListen, listen, url


def test_a_free_port_is_taken_and_told():
    (listener,) = listen("127.0.0.1", 0)

    with listener:
        port = listener.getsockname()[1]
        assert url("127.0.0.1", [listener]) == f"http://127.0.0.1:{port}"
        assert url("::1", [listener]) == f"http://[::1]:{port}"
        with socket.create_connection(("127.0.0.1", port), timeout=10):
            pass  # it waits, though nothing serves it yet


def test_a_port_in_use_is_said_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(CannotListen, match=rf"Port {port} of 127.0.0.1 is in use; .*--port"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_cannot_be_listened_on():
    with pytest.raises(CannotListen, match=r"192\.0\.2\.1, port 8000: .*--host"):
        listen("192.0.2.1", 8000)  # kept for documentation (RFC 5737)


def test_a_name_that_means_nothing_cannot_be_listened_on(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with pytest.raises(CannotListen, match=r"no\.such\.invalid, port 8000: Name or service not known; .*--host"):
        listen("no.such.invalid", 8000)


def leads_to(*addresses: tuple[str, int]) -> Callable[..., list[tuple[object, ...]]]:
    """What a name stands for."""
    return lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]


def test_of_the_addresses_of_a_name_those_that_the_machine_has_are_enough(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "getaddrinfo", leads_to(("192.0.2.1", 0), ("127.0.0.1", 0)))

    (listener,) = listen("localhost", 0)

    with listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_of_a_name_of_which_one_address_is_in_use_none_is_kept(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        first = free.getsockname()
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(socket, "getaddrinfo", leads_to(first, other.getsockname()))

        with pytest.raises(CannotListen, match="in use"):
            listen("localhost", 8000)

    socket.create_server(first).close()
