"""How much memory a table may take: a file that unpacks to more is refused before it is read."""

from __future__ import annotations

import os
from pathlib import Path

from nnbackend.backends.device import in_words

__all__ = ["MEMORY_PER_BYTE", "check_memory", "memory_limit"]

MEMORY_PER_BYTE = 4  # of a text: as it is, as fields, and as numbers or texts

_SHARE = 0.5  # of the memory that is free
_UNKNOWN_BYTES = 1 << 33  # where a system does not say what is free


def memory_limit() -> int:
    """Return the bytes that a table may take: half of the memory that is free, also in a container."""
    free = []
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free.append(int(lines["MemAvailable"].split()[0]) << 10)
        group = Path("/sys/fs/cgroup")
        most, used = (int((group / f"memory.{n}").read_text()) for n in ("max", "current"))
        free.append(most - used)
    except (OSError, ValueError, KeyError):
        pass  # another system, or no limit
    if not free and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        free.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return int(_SHARE * max(min(free), 0)) if free else _UNKNOWN_BYTES


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
