"""The flag that a signal handler can set."""

import threading

from app.worker.flag import Flag


def test_a_flag_that_nobody_sets_is_waited_for_no_longer_than_said():
    flag = Flag()

    assert not flag.wait(0.001)
    assert not flag.is_set()


def test_who_waits_for_a_flag_goes_on_once_it_is_set():
    flag, gone_on = Flag(), threading.Event()
    waiting = threading.Thread(target=lambda: flag.wait(3600.0) and gone_on.set(), daemon=True)
    waiting.start()

    flag.set()

    assert gone_on.wait(60.0)
    assert flag.is_set()
