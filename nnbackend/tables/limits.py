"""How much memory a table may take: a file that unpacks to more is refused before it is read."""

from __future__ import annotations

from nnbackend.backends.device import in_words
from nnbackend.core.host_memory import free_memory

__all__ = ["MEMORY_PER_BYTE", "check_memory", "memory_limit"]

MEMORY_PER_BYTE = 3  # of a text: in parts, as a whole, and as fields

_SHARE = 0.5  # of the memory that is free
_UNKNOWN_BYTES = 1 << 33  # where a system does not say what is free


def memory_limit() -> int:
    """Return the bytes that a table may take: half of what is free to the process."""
    free = free_memory()
    return _UNKNOWN_BYTES if free is None else int(_SHARE * free)


def check_memory(size: int, limit: int | None = None, *, stream: bool = True) -> None:
    """Refuse data of so many bytes in memory if they are above the limit.

    Args:
        size: the bytes.
        limit: the limit; None: :func:`memory_limit`.
        stream: whether they are a table, which could be read part by part.

    Raises:
        ValueError: it is.
    """
    limit = memory_limit() if limit is None else limit
    if size > limit:
        advice = "; --stream trains a plain network on tables larger than memory" if stream else ""
        raise ValueError(
            f"it takes {in_words(size)} or more in memory, and the limit is half of what is free, "
            f"{in_words(limit)}{advice}"
        )
