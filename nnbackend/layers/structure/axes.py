"""Axes of a row, as layers that move or cut axes name them."""

from __future__ import annotations

import operator
from typing import Any

from nnbackend.core.types import Shape
from nnbackend.errors import given

__all__ = ["check_axis", "place_of"]


def check_axis(owner: Any, name: str) -> None:
    """Check that a field of a frozen dataclass is an axis of a row and make it an int.

    Raises:
        ValueError: it is no whole number.
    """
    value = getattr(owner, name)
    try:
        axis = operator.index(None if isinstance(value, bool) else value)  # type: ignore[arg-type]
    except TypeError:
        axis = 1 << 40
    if abs(axis) > 1 << 31:
        raise ValueError(
            f"{name} must be a whole number, 0 the first axis after the batch and -1 the last; got "
            f"{given(value)}"
        )
    object.__setattr__(owner, name, axis)


def place_of(axis: int, shape: Shape, layer: str, name: str = "axis") -> int:
    """Return an axis of a row of some shape, counted from the first.

    Raises:
        ValueError: the row has no such axis.
    """
    count = len(shape)
    if not -count <= axis < count:
        raise ValueError(f"{layer}: {name}={axis} is no axis of rows of shape {tuple(shape)}")
    return axis % count
