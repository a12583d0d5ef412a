"""Slots."""

import pytest

from app.errors import TooManyAtOnce
from app.slots import Slots


def test_as_many_as_there_are_slots_may_come_and_the_next_one_is_told_to_wait():
    slots = Slots(2, "uploads")

    with (
        slots.one(),
        slots.one(),
        pytest.raises(TooManyAtOnce, match="2 uploads are under way") as refused,
        slots.one(),
    ):
        pytest.fail("there is no third slot")

    assert refused.value.headers["Retry-After"]


def test_a_slot_is_free_again_however_its_holder_ended():
    slots = Slots(1, "uploads")
    with pytest.raises(ZeroDivisionError), slots.one():
        _ = 1 / 0

    with slots.one():
        assert slots.taken == 1
    assert slots.taken == 0
