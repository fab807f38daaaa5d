"""Numbers cut off the ends of the spatial axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend.core.types import Array, Context
from nnbackend.layers.base import register_layer
from nnbackend.layers.pooling.base import SpatialLayer
from nnbackend.layers.pooling.stages import Pullback
from nnbackend.layers.spatial import Sizes, check_pairs, pad, pad_adjoint, set_channels

__all__ = ["Crop1D", "Crop2D", "Crop3D"]


@dataclass(frozen=True)
class Crop(SpatialLayer):
    """Any number of spatial axes without their ends; see :class:`Crop2D`."""

    cropping: int | tuple[Any, ...]
    channels: str = "last"

    def __post_init__(self) -> None:
        object.__setattr__(self, "cropping", check_pairs("cropping", self.cropping, self.axes))
        set_channels(self)

    def output_lengths(self, lengths: Sizes) -> Sizes:
        """Return the lengths without what is cut off.

        Raises:
            ValueError: nothing is left of an axis.
        """
        pairs = zip(lengths, self.cropping, strict=True)  # type: ignore[arg-type]
        left = tuple(length - low - high for length, (low, high) in pairs)
        if any(length < 1 for length in left):
            raise ValueError(
                f"cropping of {self.cropping} leaves nothing of an input of size {lengths}"
            )
        return left

    def transform(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the inner part of the input, and ``backward(dy) -> dx``, with zeros around it."""
        backend, pairs = ctx.backend, self.cropping
        # Cropping is the adjoint of padding with zeros, and the other way round.
        return pad_adjoint(x, pairs, backend), lambda dy: pad(dy, pairs, backend)  # type: ignore[arg-type]


@register_layer
@dataclass(frozen=True)
class Crop1D(Crop):
    """The inner part of one spatial axis: numbers are cut off before and after.

    In the backward pass the gradients of what was cut off are 0. ``Crop1D(((1, 2),))`` cuts off
    one number at the beginning and two at the end.

    Shape: (batch, length, channels) → (batch, length', channels), with
    ``length' = length - before - after``.

    Args:
        cropping: how many numbers: a whole number for all sides, or a tuple with a number or a pair
            (before, after) for each axis, in the order of the axes.
        channels: "last" (the default) or "first": (batch, channels, length).

    Raises:
        ValueError: cropping is negative; when the network is built, if the input has other axes or
            nothing is left of one.

    Source: Keras's Cropping1D; PyTorch's functional pad with negative numbers.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class Crop2D(Crop):
    """The inner part of two spatial axes: numbers are cut off before and after.

    In the backward pass the gradients of what was cut off are 0. ``Crop2D(((1, 0), 2))`` cuts off
    one row above and two columns on both sides.

    Shape: (batch, height, width, channels) → (batch, height', width', channels), with
    ``length' = length - before - after``.

    Args:
        cropping: how many numbers: a whole number for all sides, or a tuple with a number or a pair
            (before, after) for each axis, in the order of the axes.
        channels: "last" (the default) or "first": (batch, channels, height, width).

    Raises:
        ValueError: cropping is negative; when the network is built, if the input has other axes or
            nothing is left of one.

    Source: Keras's Cropping2D; PyTorch's functional pad with negative numbers.
    """

    axes: ClassVar[int] = 2


@register_layer
@dataclass(frozen=True)
class Crop3D(Crop):
    """The inner part of three spatial axes: numbers are cut off before and after.

    In the backward pass the gradients of what was cut off are 0. ``Crop3D((0, 1, (0, 2)))`` cuts off
    one row on both sides and two columns after.

    Shape: (batch, depth, height, width, channels) → (batch, depth', height', width', channels), with
    ``length' = length - before - after``.

    Args:
        cropping: how many numbers: a whole number for all sides, or a tuple with a number or a pair
            (before, after) for each axis, in the order of the axes.
        channels: "last" (the default) or "first": (batch, channels, depth, height, width).

    Raises:
        ValueError: cropping is negative; when the network is built, if the input has other axes or
            nothing is left of one.

    Source: Keras's Cropping3D; PyTorch's functional pad with negative numbers.
    """

    axes: ClassVar[int] = 3
