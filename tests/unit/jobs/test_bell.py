"""The bell."""

import socket
import threading
import time

from app.jobs.bell import LOOPBACK, Bell


def test_a_ring_wakes_who_waits(bell: Bell, ringer: Bell):
    timer = threading.Timer(0.05, lambda: ringer.ring([bell.port], "job"))
    timer.start()

    assert bell.wait(60.0)

    timer.join()


def test_a_ring_before_the_wait_is_not_lost(bell: Bell, ringer: Bell):
    ringer.ring([bell.port])

    assert bell.wait(60.0)


def test_nobody_rings_and_the_wait_ends_all_the_same(bell: Bell):
    started = time.monotonic()

    assert not bell.wait(0.05)

    assert time.monotonic() - started >= 0.045


def test_rings_that_gathered_wake_once(bell: Bell, ringer: Bell):
    for _ in range(5):
        ringer.ring([bell.port])

    assert bell.wait(60.0)
    assert not bell.wait(0.01)


def test_who_drains_learns_every_message_and_never_waits(bell: Bell, ringer: Bell):
    assert bell.drain() == set()

    ringer.ring([bell.port], "a")
    ringer.ring([bell.port], "b")
    ringer.ring([bell.port], "a")

    assert bell.drain() == {"a", "b"}
    assert bell.drain() == set()


def test_a_drain_after_a_wait_still_does_not_wait(bell: Bell):
    bell.wait(0.001)

    assert bell.drain() == set()


def test_a_bell_can_ring_itself_awake(bell: Bell):
    bell.ring([bell.port])

    assert bell.wait(60.0)


def test_one_that_is_gone_is_no_matter_to_the_others(bell: Bell, ringer: Bell):
    gone = Bell()
    port = gone.port
    gone.close()

    ringer.ring([port, port, bell.port, port], "job")

    assert bell.drain() == {"job"}
    assert ringer.drain() == set()
    assert not ringer.wait(0.01)


def test_whatever_a_stranger_sends_costs_a_look_and_no_more(bell: Bell):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"\xff\xfe" + b"x" * 1000, (LOOPBACK, bell.port))
        stranger.sendto(b"", (LOOPBACK, bell.port))

    assert len(bell.drain()) == 2


def test_only_this_machine_can_ring(bell: Bell):
    assert bell._socket.getsockname()[0] == "127.0.0.1"
