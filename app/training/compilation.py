"""How the loops are compiled: one decorator and one array type, so that each loop is compiled once.

Numba keeps the machine code in NUMBA_CACHE_DIR, which the caller sets before this module is imported. NaN and
infinity keep their meaning (`fastmath` without nnan and ninf), since divergence is seen by them. Never
`parallel=True`: the GEMMs have a thread pool of their own.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

REORDERED_SUMS = {"reassoc", "contract", "arcp", "nsz"}

compiled: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(
    cache=True, nogil=True, fastmath=REORDERED_SUMS, error_model="numpy"
)


inlined: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(inline="always", error_model="numpy")


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view without a subclass: maps, buffers and arrays then have one compiled type."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def _fetched(typing, array, row, column):  # type: ignore[no-untyped-def]
    """Ask the processor to bring array[row, column] and its cache line near: LLVM's `prefetch`, which never faults.

    Rows in random order are no stream that the processor could guess; asked for a minibatch ahead they are there in
    time. Without it a step of a million rows waits for memory three quarters of its time.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        kind = signature.args[0]
        held = context.make_array(kind)(context, builder, arguments[0])
        place = cgutils.get_item_pointer(context, builder, kind, held, arguments[1:], wraparound=False)  # type: ignore[no-untyped-call]
        address, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [address, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [address], shape)
        read, keep_in_all_caches, data = (ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(prefetch, [builder.bitcast(place, address), read, keep_in_all_caches, data])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


fetched: Callable[..., None] = intrinsic(_fetched)
