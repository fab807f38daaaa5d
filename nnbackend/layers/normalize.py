"""A fixed scale of the input."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from nnbackend.core import functional
from nnbackend.core.checks import check_items, check_number
from nnbackend.core.types import Array, Context, Shape
from nnbackend.errors import given
from nnbackend.layers.base import Parameterless, register_layer

__all__ = ["Normalize"]


@register_layer
@dataclass(frozen=True)
class Normalize(Parameterless):
    """Bring inputs to a common scale, by numbers that are known: ``y = (x - mean) / std``.

    ``dx = dy / std``. Nothing is learned; the numbers are part of the network, so that whoever loads it
    gives it raw inputs. (..., channels) -> the same. For the images of ImageNet, from 0 to 1::

        Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

    In mixed precision inputs have 16 bits before they get here: not more than 65504 in float16.

    Args:
        mean: the mean of each channel, or a number for all.
        std: the standard deviation of each channel, or a number for all; above 0.
        axis: the axis of the channels, the batch being axis 0: the last one by default, 1 where channels
            come first.

    Raises:
        ValueError: a number is not finite, or a deviation not above 0; or, when the network is built,
            there are not as many numbers as channels.
    """

    mean: float | Iterable[float]
    std: float | Iterable[float]
    axis: int = -1

    def __post_init__(self) -> None:
        mean, std = _numbers("mean", self.mean), _numbers("std", self.std)
        low = min(std) if isinstance(std, tuple) else std
        if low <= 0.0:
            raise ValueError(f"std must be above 0, got {low:g}; a constant channel may have 1")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)
        object.__setattr__(self, "axis", _axis(self.axis))

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape.

        Raises:
            ValueError: there is no such axis, or it has another number of channels.
        """
        axes = len(input_shape) + 1
        if not 0 < self.axis % axes == self.axis + (axes if self.axis < 0 else 0):
            raise ValueError(f"there is no axis {self.axis} in rows of shape {input_shape}")
        count = input_shape[self.axis % axes - 1]
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if isinstance(numbers, tuple) and len(numbers) != count:
                raise ValueError(
                    f"{name} has {len(numbers)} numbers, and axis {self.axis} of rows of shape "
                    f"{input_shape} has {count} channels"
                )
        return input_shape

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Return ``(x - mean) / std``."""
        xp, given_dtype = ctx.xp, x.dtype
        # A mean of 16 bits would be off by as much as inputs differ.
        wide = ctx.backend.dtype if functional.is_half(given_dtype) else given_dtype
        shape = [1] * len(x.shape)
        shape[self.axis] = -1

        def array(numbers: Any) -> Any:
            if not isinstance(numbers, tuple):
                return numbers
            values = xp.asarray(list(numbers), dtype=wide, device=ctx.backend.device)
            return xp.reshape(values, tuple(shape))

        mean, std = array(self.mean), array(self.std)

        def scaled(numbers: Array) -> Array:
            return xp.astype(numbers / std, given_dtype, copy=False)

        y = scaled(xp.astype(x, wide, copy=False) - mean)
        return y, lambda dy: scaled(xp.astype(dy, wide, copy=False))


def _axis(value: Any) -> int:
    """Return the number of an axis that is not the batch's."""
    try:
        axis = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        axis = 0
    if not 0 < abs(axis) < 2**63:
        raise ValueError(
            f"axis must be a whole number other than 0, the batch's axis; got {given(value)}"
        )
    return axis


def _numbers(name: str, value: Any) -> float | tuple[float, ...]:
    """Return a finite number, or those of each channel."""
    if not isinstance(value, Iterable) or getattr(value, "shape", None) == ():
        return check_number(name, value)
    numbers = check_items(name, value, "a number, or one for each channel")
    if not numbers:
        raise ValueError(f"{name} must be a number, or one for each channel; got none")
    return tuple(check_number(name, number) for number in numbers)
