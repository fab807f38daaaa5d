"""How much memory is free on this machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["free_memory"]


def free_memory() -> int | None:
    """Return the bytes of memory that are free to the process; None: unknown."""
    free = []
    for look in (_free_of_system, _free_of_container, _free_of_process):
        with contextlib.suppress(OSError, ValueError, KeyError, ImportError, AttributeError):
            free.append(look())  # what another system does not say does not count
    return max(min(free), 0) if free else None


def _free_of_system() -> int:
    if not Path("/proc/meminfo").exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) << 10


def _free_of_container() -> int:
    most, used = (int(Path(f"/sys/fs/cgroup/memory.{n}").read_text()) for n in ("max", "current"))
    return most - used


def _free_of_process() -> int:
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most == resource.RLIM_INFINITY:
        raise ValueError("there is no limit")
    return most - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
