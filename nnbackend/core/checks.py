"""Checks of sizes and hyperparameters, which return plain ints and floats.

A NumPy number in their place would turn float32 arithmetic into float64 on some backends, and could not
be written to a model file.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from numbers import Real
from typing import Any

__all__ = [
    "check_flag",
    "check_number",
    "check_size",
    "convert_fields",
    "set_number",
    "set_positive",
    "set_size",
]


def check_size(name: str, value: Any) -> int:
    """Return ``value``, a whole number of at least 1 (also NumPy's), as an int.

    Raises:
        ValueError: ``value`` is something else.
    """
    try:
        size = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        size = 0
    if size < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return size


def check_number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return ``value``, a finite number with ``low <= value < high`` (also NumPy's), as a float.

    Raises:
        ValueError: ``value`` is something else.
    """
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value < high:
        bound = ""
        if low > -math.inf:
            bound = f", from {low:g} to below {high:g}" if high < math.inf else f", {low:g} or more"
        raise ValueError(f"{name} must be a number{bound}; got {value!r}")
    return float(value)


def check_flag(name: str, value: Any) -> None:
    """Raise a ValueError if ``value`` is not True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def set_number(owner: Any, name: str, low: float = -math.inf, high: float = math.inf) -> None:
    """Check the field ``name`` of a frozen dataclass and make it a float, see :func:`check_number`."""
    object.__setattr__(owner, name, check_number(name, getattr(owner, name), low, high))


def set_positive(owner: Any, name: str) -> None:
    """Check that the field ``name`` is a number above 0 and make it a float; for ``__post_init__``."""
    set_number(owner, name, 0.0)
    if getattr(owner, name) == 0.0:
        raise ValueError(f"{name} must be above 0, got 0")


def set_size(owner: Any, name: str) -> None:
    """Check the field ``name`` of a frozen dataclass and make it an int; for ``__post_init__``."""
    object.__setattr__(owner, name, check_size(name, getattr(owner, name)))


def convert_fields(owner: Any, **functions: Callable[[Any], Any]) -> None:
    """Apply functions to fields of a frozen dataclass; for ``__post_init__``.

    ``convert_fields(self, activation=activations.get)`` turns a name into the object it stands for.
    """
    for name, function in functions.items():
        object.__setattr__(owner, name, function(getattr(owner, name)))
