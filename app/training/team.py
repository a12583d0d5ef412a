"""Threads that train together: they meet after each part of a step, within compiled loops and without Python.

A step of a minibatch takes some tens of microseconds, as long as it takes to wake a thread. So the members of a team
are woken once for a whole slice of an epoch, and wait for each other by looking at each other's count of meetings.
Who has looked in vain for a while sleeps: where cores have other work too, the one that is waited for may need his.
To offer the core without sleeping would give it away for as long as others like, some milliseconds at each meeting.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from app.training.compilation import inlined
from app.training.vectors import LANES, copy_past_caches

LOOKS = 40_000
"""At the others, before a member sleeps for the shortest while there is: as long as that takes, some 50 µs."""
GONE = 1 << 62
"""The count of a member that has failed: nobody waits for him any more."""
LINE_NUMBERS = 8
"""int64 of a cache line: each member's count has one to itself."""

UNIT = 2 * LANES
"""Numbers that one member or another writes: whole cache lines."""

sleep_microseconds = types.ExternalFunction("usleep", types.int32(types.uint32))


def threads() -> int:
    """Those that a training may use: as many as NumPy's products do."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("OPENBLAS_NUM_THREADS") or cores)


@inlined
def share_of(member, members, start, stop):  # type: ignore[no-untyped-def]
    """A member's part of start…stop−1: its first, and the first that is the next member's."""
    size = stop - start
    return start + size * member // members, start + size * (member + 1) // members


class Team:
    """Members 0…size−1, of which 0 is the thread that calls.

    Raises:  RuntimeError if a thread cannot be started
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.meetings = np.zeros((size, LINE_NUMBERS), np.int64)
        self._others = ThreadPoolExecutor(size - 1, "training") if size > 1 else None
        if self._others is not None:
            self._assemble(self._others)

    def _assemble(self, others: ThreadPoolExecutor) -> None:
        """Have all threads started now, so that later no member waits for one that cannot be."""
        all_here = Barrier(self.size)
        try:
            waiting = [others.submit(all_here.wait) for _ in range(self.size - 1)]
        except BaseException:
            all_here.abort()
            others.shutdown(wait=False)
            raise
        all_here.wait()
        for future in waiting:
            future.result()

    def share(self, member: int, count: int) -> tuple[int, int]:
        """Which of so many things are a member's, as `share_of`."""
        first, last = share_of.py_func(member, self.size, 0, count)  # type: ignore[attr-defined]
        return first, last

    def run(self, work: Callable[[int], None]) -> None:
        """Have every member do `work(member)`, at the same time.

        Raises:  what a member raises, when all have ended; the team is then of no more use
        """

        def attended(member: int) -> None:
            try:
                work(member)
            except BaseException:
                self.meetings[member, 0] = GONE
                raise

        others = [] if self._others is None else [self._others.submit(attended, m) for m in range(1, self.size)]
        try:
            attended(0)
        finally:
            failures = [future.exception() for future in others]  # `wait` takes 30 µs more
        for failure in failures:
            if failure is not None:
                raise failure


def _counted(builder: Any, context: Any, kind: Any, array: Any, member: Any) -> Any:
    """The address of a member's count."""
    held = context.make_array(kind)(context, builder, array)
    zero = ir.Constant(member.type, 0)
    return cgutils.get_item_pointer(context, builder, kind, held, [member, zero], wraparound=False)  # type: ignore[no-untyped-call]


def _announce(typing: Any, meetings: Any, member: Any, count: Any) -> Any:
    """Say at which meeting a member is; what it wrote before can be read by whoever hears of it.

    The fence is for what it wrote past the caches, which no other order holds for.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        place = _counted(builder, context, meetings, *arguments[:2])
        builder.fence("seq_cst")
        builder.store_atomic(arguments[2], place, "release", 8)
        return context.get_dummy_value()

    return types.void(meetings, types.intp, types.int64), generate


def _heard(typing: Any, meetings: Any, member: Any) -> Any:
    """At which meeting a member is."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.load_atomic(_counted(builder, context, meetings, *arguments), "acquire", 8)

    return types.int64(meetings, types.intp), generate


announce: Callable[..., None] = intrinsic(_announce)
heard: Callable[..., Any] = intrinsic(_heard)


@inlined
def meet(meetings, member):  # type: ignore[no-untyped-def]
    """Go on when all members have come here."""
    size = meetings.shape[0]
    if size > 1:
        count = meetings[member, 0] + 1
        announce(meetings, member, count)
        for other in range(size):
            looks = 0
            while heard(meetings, other) < count:
                looks += 1
                if looks > LOOKS:
                    sleep_microseconds(1)  # type: ignore[call-overload]


@inlined
def publish(own, shared, first, last):  # type: ignore[no-untyped-def]
    """Copy own[first…last−1] to where the other members read it after the next meeting; both are multiples of UNIT.

    Past the caches: a line that a core has written is slow to get from there (on an AMD EPYC, Zen 4, the gradient of
    Fashion-MNIST takes 17 µs to cross from one group of cores to another, and 3 µs by way of memory).
    """
    for i in range(first, last, LANES):
        copy_past_caches(own, shared, i)


@inlined
def span_of(member, members, size):  # type: ignore[no-untyped-def]
    """A member's part of so many numbers, a multiple of UNIT, in whole units."""
    first, last = share_of(member, members, 0, size // UNIT)
    return first * UNIT, last * UNIT
