"""Threads that train together: they meet after each part of a step, within compiled loops and without Python.

A step of a minibatch takes some tens of microseconds, as long as it takes to wake a thread. So the members of a team
are woken once for a whole slice of an epoch, and wait for each other by looking at each other's count of meetings.
Who has looked in vain for a while offers his core, which the one that is waited for may need. If another process took
it, for some milliseconds, he looks longer and then sleeps: who wakes is soon given a core, and who offered his is not.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from app.training.compilation import aligned, compiled, inlined
from app.training.vectors import LANES, copy_past_caches

LOOKS = 2000
"""At the others, before a core is offered: a few µs."""
LOOKS_IN_A_CROWD = 40_000
"""Before a member sleeps for the shortest while there is: as long as that takes, some 50 µs."""
LENT_NANOSECONDS = 200_000
"""A core that is back later was lent to another process: members have less to do between two meetings."""
SLEEPS = 1000
"""Until the core is offered again."""
GONE = 1 << 62
"""The count of a member that has failed: nobody waits for him any more."""
NUMBERS = 16
"""int64 of a member, two cache lines: its count, which others look at, and from SLEEPING on its own notes."""
SLEEPING, CLOCK = 8, 9

UNIT = 2 * LANES
"""Numbers that one member or another writes: whole cache lines."""

offer_core = types.ExternalFunction("sched_yield", types.int32())
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
        self.meetings = aligned(size, 2 * NUMBERS).view(np.int64)
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


def _place(builder: Any, context: Any, kind: Any, array: Any, member: Any, which: int = 0) -> Any:
    """The address of a member's count, or of another of its numbers."""
    held = context.make_array(kind)(context, builder, array)
    numbers = [member, ir.Constant(member.type, which)]
    return cgutils.get_item_pointer(context, builder, kind, held, numbers, wraparound=False)  # type: ignore[no-untyped-call]


def _announce(typing: Any, meetings: Any, member: Any, count: Any) -> Any:
    """Say at which meeting a member is; what it wrote before can be read by whoever hears of it.

    The fence is for what it wrote past the caches, which no other order holds for.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        place = _place(builder, context, meetings, *arguments[:2])
        builder.fence("seq_cst")
        builder.store_atomic(arguments[2], place, "release", 8)
        return context.get_dummy_value()

    return types.void(meetings, types.intp, types.int64), generate


def _heard(typing: Any, meetings: Any, member: Any) -> Any:
    """At which meeting a member is."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.load_atomic(_place(builder, context, meetings, *arguments), "acquire", 8)

    return types.int64(meetings, types.intp), generate


def _nanoseconds(typing: Any, meetings: Any, member: Any) -> Any:
    """Of a clock that is never set back."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        whole, clock = ir.IntType(64), ir.IntType(32)
        place = _place(builder, context, meetings, arguments[0], arguments[1], CLOCK)
        shape = ir.FunctionType(clock, [clock, whole.as_pointer()])
        function = cgutils.get_or_insert_function(builder.module, shape, "clock_gettime")  # type: ignore[no-untyped-call]
        builder.call(function, [ir.Constant(clock, time.CLOCK_MONOTONIC), place])
        rest = builder.load(builder.gep(place, [ir.Constant(clock, 1)]))
        return builder.add(builder.mul(builder.load(place), ir.Constant(whole, 10**9)), rest)

    return types.int64(meetings, types.intp), generate


announce: Callable[..., None] = intrinsic(_announce)
heard: Callable[..., Any] = intrinsic(_heard)
nanoseconds: Callable[..., Any] = intrinsic(_nanoseconds)


@compiled
def wait(meetings, member, other, count):  # type: ignore[no-untyped-def]
    """Until another member is at this meeting."""
    looks = 0
    while heard(meetings, other) < count:
        looks += 1
        if meetings[member, SLEEPING] == 0 and looks > LOOKS:
            start = nanoseconds(meetings, member)
            offer_core()
            if nanoseconds(meetings, member) - start > LENT_NANOSECONDS:
                meetings[member, SLEEPING] = SLEEPS
        elif looks > LOOKS_IN_A_CROWD:
            meetings[member, SLEEPING] -= 1
            sleep_microseconds(1)  # type: ignore[call-overload]


@inlined
def meet(meetings, member):  # type: ignore[no-untyped-def]
    """Go on when all members have come here."""
    size = meetings.shape[0]
    if size > 1:
        count = meetings[member, 0] + 1
        announce(meetings, member, count)
        for other in range(size):
            wait(meetings, member, other, count)


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
