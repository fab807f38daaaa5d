"""Whether numbers are constant, that is, the same up to rounding."""

from __future__ import annotations

from typing import Any

__all__ = ["is_constant", "rounding_error"]

_EPSILON = 2.0**-52  # the spacing of float64 at 1


def rounding_error(mean: Any, count: int) -> Any:
    """Return ``count * epsilon * |mean|``: how far apart rounding may put numbers that are the same.

    Means and their errors are floats, or arrays of them; ``epsilon`` is that of float64.
    """
    return count * _EPSILON * abs(mean)


def is_constant(low: Any, high: Any, mean: Any, count: int) -> Any:
    """Return whether ``count`` numbers from ``low`` to ``high`` differ by rounding alone.

    Never compare a standard deviation with 0 instead: that of equal numbers need not be 0.
    """
    return high - low <= rounding_error(mean, count)
