"""Layers that come several times in a row, found so that they are drawn once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

__all__ = ["gather"]

_LONGEST_BLOCK = 64


def gather(items: Sequence[Hashable]) -> list[tuple[int, int, int]]:
    """Return where items repeat, as (start, length, times), one after the other for all items.

    One item is gathered from three times on, a block of several from twice on; of several ways the one
    that gathers most items is taken, and of these the shortest block.

    >>> gather("abababc")
    [(0, 2, 3), (6, 1, 1)]
    """
    found = []
    start = 0
    while start < len(items):
        length, times = _longest_repeat(items, start)
        found.append((start, length, times))
        start += length * times
    return found


def _longest_repeat(items: Sequence[Hashable], start: int) -> tuple[int, int]:
    """Return the length of the block at a place that repeats most, and how often it is there."""
    best = (1, 1)
    for length in range(1, min(_LONGEST_BLOCK, (len(items) - start) // 2) + 1):
        block = items[start : start + length]
        end = start + length
        while items[end : end + length] == block:
            end += length
        times = (end - start) // length
        enough = times >= (3 if length == 1 else 2)
        if enough and length * times > best[0] * best[1]:
            best = (length, times)
    return best
