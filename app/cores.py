"""Cores: how many of the machine's this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_GROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def cores() -> int:
    """Those that it may run on, and of these as many as the time that its control groups leave it is worth.

    A container that is given two cores by quota (`docker run --cpus 2`) sees all of its machine's.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([allowed, *(max(1, math.ceil(quota)) for quota in _quotas(_GROUPS, _MOUNT))])


def _quotas(groups: Path, mount: Path) -> Iterator[float]:
    """The cores' worth of time that each group above this process allows, where it sets a limit."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            # Within a container a path may be that of its machine, of which only the root is to be seen.
            for group in (PurePosixPath(path), *PurePosixPath(path).parents):
                yield from _quota(mount / controllers / str(group).lstrip("/"))


def _quota(group: Path) -> Iterator[float]:
    try:
        limit = group / "cpu.max"  # version 2: "200000 100000", or "max 100000"
        if limit.exists():
            quota, period = limit.read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if quota != "max" and float(quota) > 0:
            yield float(quota) / float(period)
    except (OSError, ValueError):
        return
