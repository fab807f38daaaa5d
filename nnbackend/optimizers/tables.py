"""Numbers of many steps at once, on the host in float64: the same to the last bit as one by one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["powers", "sqrt", "table"]

Numbers = np.ndarray[Any, np.dtype[np.float64]]

_TOGETHER = 1024  # powers that are computed and kept together

sqrt = np.sqrt


def table(columns: Sequence[float | Numbers], steps: range) -> Numbers:
    """Return a row for each step, of columns that are arrays or the same number throughout."""
    rows = np.empty((len(steps), len(columns)))
    for i, column in enumerate(columns):
        rows[:, i] = column
    return rows


def powers(base: float, steps: range) -> Numbers:
    """Return ``base**step`` for successive steps."""
    first, last = steps.start // _TOGETHER, (steps.stop - 1) // _TOGETHER
    found = np.concatenate([_powers(base, i) for i in range(first, last + 1)])
    start = steps.start - first * _TOGETHER
    return found[start : start + len(steps)]


@lru_cache(maxsize=256)
def _powers(base: float, number: int) -> Numbers:
    """Return a stretch of powers. By Python, whose power differs from NumPy's in the last bit."""
    start = number * _TOGETHER
    return np.asarray([base**step for step in range(start, start + _TOGETHER)])
