"""How the loops are compiled: one decorator and one array type, so that each loop is compiled once.

Numba keeps the machine code in NUMBA_CACHE_DIR, which the caller sets before this module is imported, in a folder for
each state of these sources and each processor: numba itself looks at the file of a loop alone, and not at those that
the loop takes its functions from, so that after an upgrade it would go on with what has changed; and its list of what
is kept cannot be written by several machines at once, which may share the folder. NaN and infinity keep their meaning
(`fastmath` without nnan and ninf), since divergence is seen by them. Never `parallel=True`: that would be a
second pool of threads beside that of NumPy's products (see `team`).
"""

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic
from numpy.typing import NDArray

log = logging.getLogger(__name__)

LINE_BYTES = 64
"""Of a cache line."""
APART_BYTES = 1 << 16
"""Between arrays: a processor that sees rows 3 KB apart looked at in turn asks for the next dozens of them too."""

_HERE = Path(__file__).parent


@cache
def processor() -> str:
    """The processor that loops are compiled for, on which bits depend: LLVM's name, and a digest of what it can."""
    name, features = numba.config.CPU_NAME, numba.config.CPU_FEATURES  # type: ignore[attr-defined]
    told = binding.get_host_cpu_features().flatten() if features is None else features
    return f"{name or binding.get_host_cpu_name()}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def _cache_dir() -> str:
    """Where machine code of these very sources is kept; where nothing can be written it is left to numba."""
    base = Path(numba.config.CACHE_DIR or _HERE / "__pycache__")  # type: ignore[attr-defined]
    existing = next(folder for folder in (base, *base.parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        return str(numba.config.CACHE_DIR)  # type: ignore[attr-defined]
    sources = [path.read_bytes() for path in sorted(_HERE.glob("*.py"))]
    # Another numba would take the files of this one where it has listed its own, and then had no room for them.
    digest = hashlib.sha256(b"\0".join([numba.__version__.encode(), *sources])).hexdigest()
    return str(base / f"{digest[:16]}-{processor()}")


numba.config.CACHE_DIR = _cache_dir()  # type: ignore[attr-defined]

REORDERED_SUMS = {"reassoc", "contract", "arcp", "nsz"}

# No counts of references (`_nrt`): loops allocate nothing, and their arrays are the caller's. Counting takes 2 %.
_loop: Callable[[Callable[..., Any]], Any] = numba.njit(  # type: ignore[call-overload]
    nogil=True, fastmath=REORDERED_SUMS, error_model="numpy", _nrt=False
)


class _Kept(FunctionCache):
    """Numba's files of machine code; where they cannot be read or written, numba itself would fail the training."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The code for these types, if it is there."""
        with _if_possible():
            try:
                return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
            except OSError:
                raise
            except Exception:  # noqa: BLE001  there are as many as there are ways to damage a file
                # A loss of power may have cut it off. Forget it, so that it can be kept anew.
                self.flush()  # type: ignore[no-untyped-call]

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code for these types, if there is room."""
        with _if_possible():
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop at its first call, or load what is kept of it: `cache=True`, but for what fails."""
    loop = _loop(function)
    try:
        loop._cache = _Kept(function)  # type: ignore[no-untyped-call]  # noqa: SLF001  there is no public way
    except RuntimeError:
        _say_once("there is no folder that can be written")
    return loop  # type: ignore[no-any-return]


@contextmanager
def _if_possible() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _say_once(error.strerror or str(error))


@cache
def _say_once(reason: str) -> None:
    log.warning("compiled loops cannot be kept, and are compiled again at the next start: %s", reason)


inlined: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.njit(inline="always", error_model="numpy")


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view without a subclass: maps, buffers and arrays then have one compiled type."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def aligned(*shape: int) -> NDArray[np.float32]:
    """Zeros that have their cache lines to themselves, and nothing near them.

    Where vectors lie across two lines, tiles take half as long again. What two threads write must not lie close
    together: a line goes to and fro between their cores, even if one of them does not use it and his processor only
    guessed that he would. With two threads, an epoch of Fashion-MNIST took up to half as long again for that.
    """
    size = 4 * math.prod(shape)
    octets = np.zeros(size + 2 * APART_BYTES + LINE_BYTES, np.uint8)
    start = APART_BYTES + -octets.ctypes.data % LINE_BYTES
    return octets[start : start + size].view(np.float32).reshape(shape)


def _fetching(locality: int) -> Callable[..., Any]:
    """Ask the processor to bring array[row, column] and its cache line near: LLVM's `prefetch`, which never faults."""

    def fetched(typing, array, row, column):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            kind = signature.args[0]
            held = context.make_array(kind)(context, builder, arguments[0])
            place = cgutils.get_item_pointer(context, builder, kind, held, arguments[1:], wraparound=False)  # type: ignore[no-untyped-call]
            address, number = ir.IntType(8).as_pointer(), ir.IntType(32)
            shape = ir.FunctionType(ir.VoidType(), [address, number, number, number])
            prefetch = builder.module.declare_intrinsic("llvm.prefetch", [address], shape)
            read, kept, data = (ir.Constant(number, value) for value in (0, locality, 1))
            builder.call(prefetch, [builder.bitcast(place, address), read, kept, data])
            return context.get_dummy_value()

        return types.void(array, types.intp, types.intp), generate

    return intrinsic(fetched)


# Rows in random order are no stream that the processor could guess; asked for ahead they are there in time. Without it
# a step of a million rows waits for memory three quarters of its time. The first-level cache takes few requests at once
# (24 on Zen 4) and then holds up the loop; the second-level one takes more.
fetched: Callable[..., None] = _fetching(3)
fetched_halfway: Callable[..., None] = _fetching(2)
