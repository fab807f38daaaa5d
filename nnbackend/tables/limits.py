"""How much memory a table may take: a file that unpacks to more is refused before it is read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from nnbackend.backends.device import in_words

__all__ = ["MEMORY_PER_BYTE", "check_memory", "memory_limit"]

MEMORY_PER_BYTE = 3  # of a text: in parts, as a whole, and as fields

_SHARE = 0.5  # of the memory that is free
_UNKNOWN_BYTES = 1 << 33  # where a system does not say what is free


def memory_limit() -> int:
    """Return the bytes that a table may take: half of what is free to the process."""
    free = []
    for look in (_free_of_system, _free_of_container, _free_of_process):
        with contextlib.suppress(OSError, ValueError, KeyError, ImportError, AttributeError):
            free.append(look())  # what another system does not say does not count
    return int(_SHARE * max(min(free), 0)) if free else _UNKNOWN_BYTES


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


def check_memory(size: int, limit: int | None = None) -> None:
    """Refuse a table of so many bytes in memory if it is above the limit.

    Raises:
        ValueError: it is.
    """
    limit = memory_limit() if limit is None else limit
    if size > limit:
        raise ValueError(
            f"it takes {in_words(size)} or more in memory, and the limit is half of what is free, "
            f"{in_words(limit)}; --stream trains on tables that are larger than memory"
        )
