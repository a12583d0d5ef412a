"""How the loops are compiled: one decorator and one array type, so that each loop is compiled once.

Numba keeps the machine code in NUMBA_CACHE_DIR, which the caller sets before this module is imported. NaN and
infinity keep their meaning (`fastmath` without nnan and ninf), since divergence is seen by them. Never
`parallel=True`: the GEMMs have a thread pool of their own.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
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
