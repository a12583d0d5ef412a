"""Memory: what the process frees goes back to the system, and nothing is loaded that nobody uses.

By default both Arrow's allocator and that of the C library keep what was freed, each thread for itself, so that a large
upload would leave its mark on the process for ever. Settings of the C library exist with glibc alone; elsewhere
nothing happens.
"""

import ctypes
import gc
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 1 << 20


def spare() -> None:
    """To be called before Arrow is imported.

    At its first conversion of a Python object Arrow imports pandas wherever it is installed: 28 MB, and 0.3 s of every
    start, for nothing. From now on it is not found.
    """
    sys.meta_path.insert(0, _Without())


class _Without(MetaPathFinder):
    """Finds that there is no pandas."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("this process does without pandas", name=fullname)


def give_back() -> None:
    """To be called before Arrow is imported, and before there are threads."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt") and hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_ARENA_MAX, 2)
        library.mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def settle() -> None:
    """Set aside what the process has made so far and keeps for its whole life.

    Looking through all of it for garbage takes nearly a tenth of a second, during which nobody is answered.
    """
    gc.collect()
    gc.freeze()


def collect_seldom() -> None:
    """Look for garbage a hundred times less often, where tens of thousands of small tuples a second are none."""
    gc.set_threshold(70_000)
