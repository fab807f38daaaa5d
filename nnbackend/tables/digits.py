"""Whole numbers with more digits than float64 has, of which different ones become equal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.tables.table import has_one_value, warn

__all__ = ["LARGEST_EXACT", "are_codes"]

LARGEST_EXACT = 2.0**53
"""Beyond it float64 does not have all whole numbers."""
_WHOLE = re.compile(r"[+-]?[0-9]{1,3}(?:[.,'_ \u00a0\u202f]?[0-9]{3})*|[+-]?[0-9]+")


def are_codes(name: str, numbers: NDArray[np.float64], values: Callable[[], Iterable[Any]]) -> bool:
    """Return whether whole numbers differ, but not as float64; say so, and if some become equal.

    Args:
        name: the name of their column.
        numbers: the numbers as float64, NaN where missing.
        values: returns them as they were, numbers or texts; it is called for large numbers only.
    """
    if not len(numbers) or not np.nanmax(np.abs(numbers), initial=0.0) > LARGEST_EXACT:
        return False
    pairs = zip(values(), numbers.tolist(), strict=True)
    different = {_whole(value, number) for value, number in pairs if number == number}
    rounded = len(set(map(float, different)))
    if len(different) == rounded:
        return False
    if has_one_value(numbers):
        warn(
            f"whole numbers that differ only in digits that float64 does not have are codes, and are "
            f"read as texts: {name}"
        )
        return True
    warn(
        f"column {name!r}: {len(different):,} different whole numbers are {rounded:,} in float64, which "
        "has 15 digits; if they are codes, take them for texts (--text, or columns= of estimators)"
    )
    return False


def _whole(value: Any, number: float) -> int | float:
    """Return a value as a whole number with all its digits, or as it is in float64."""
    if isinstance(value, str):
        digits = value.strip() if _WHOLE.fullmatch(value.strip()) else None
        return number if digits is None else int(re.sub(r"[^0-9+-]", "", digits))
    if isinstance(value, int | np.integer):
        return int(value)
    return (
        int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else number
    )
