"""Zeros put around the spatial axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend.core.types import Array, Context
from nnbackend.layers.base import register_layer
from nnbackend.layers.pooling.base import SpatialLayer
from nnbackend.layers.pooling.stages import Pullback
from nnbackend.layers.spatial import Sizes, check_pairs, pad, pad_adjoint, set_channels

__all__ = ["ZeroPad1D", "ZeroPad2D", "ZeroPad3D"]


@dataclass(frozen=True)
class ZeroPad(SpatialLayer):
    """Zeros around any number of spatial axes; see :class:`ZeroPad2D`."""

    padding: int | tuple[Any, ...]
    channels: str = "last"

    def __post_init__(self) -> None:
        object.__setattr__(self, "padding", check_pairs("padding", self.padding, self.axes))
        set_channels(self)

    def output_lengths(self, lengths: Sizes) -> Sizes:
        """Return the lengths with what is put before and after."""
        pairs = zip(lengths, self.padding, strict=True)  # type: ignore[arg-type]
        return tuple(length + low + high for length, (low, high) in pairs)

    def transform(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the padded input, and ``backward(dy) -> dx``, which cuts the padding off."""
        backend, pairs = ctx.backend, self.padding
        return pad(x, pairs, backend), lambda dy: pad_adjoint(dy, pairs, backend)  # type: ignore[arg-type]


@register_layer
@dataclass(frozen=True)
class ZeroPad1D(ZeroPad):
    """Zeros put before and after one spatial axis.

    In the backward pass the gradients of the zeros are cut off. ``ZeroPad1D(((1, 2),))`` puts
    one before and two after.

    Shape: (batch, length, channels) → (batch, length', channels), with
    ``length' = length + before + after``.

    Args:
        padding: how many zeros: a whole number for all sides, or a tuple with a number or a pair
            (before, after) for each axis, in the order of the axes. (PyTorch has the pairs of a tuple
            in reverse order, in one row.)
        channels: "last" (the default) or "first": (batch, channels, length).

    Raises:
        ValueError: padding is negative (to take numbers away, use :class:`Crop1D`); when the network
            is built, if the input has other axes.

    Source: PyTorch's ZeroPad1d, Keras's ZeroPadding1D.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class ZeroPad2D(ZeroPad):
    """Zeros put before and after two spatial axes.

    In the backward pass the gradients of the zeros are cut off. ``ZeroPad2D(((1, 0), 2))`` puts
    one row above and two columns on both sides.

    Shape: (batch, height, width, channels) → (batch, height', width', channels), with
    ``length' = length + before + after``.

    Args:
        padding: how many zeros: a whole number for all sides, or a tuple with a number or a pair
            (before, after) for each axis, in the order of the axes. (PyTorch has the pairs of a tuple
            in reverse order, in one row.)
        channels: "last" (the default) or "first": (batch, channels, height, width).

    Raises:
        ValueError: padding is negative (to take numbers away, use :class:`Crop2D`); when the network
            is built, if the input has other axes.

    Source: PyTorch's ZeroPad2d, Keras's ZeroPadding2D.
    """

    axes: ClassVar[int] = 2


@register_layer
@dataclass(frozen=True)
class ZeroPad3D(ZeroPad):
    """Zeros put before and after three spatial axes.

    In the backward pass the gradients of the zeros are cut off. ``ZeroPad3D((0, 1, (0, 2)))`` puts
    one row on both sides and two columns after.

    Shape: (batch, depth, height, width, channels) → (batch, depth', height', width', channels), with
    ``length' = length + before + after``.

    Args:
        padding: how many zeros: a whole number for all sides, or a tuple with a number or a pair
            (before, after) for each axis, in the order of the axes. (PyTorch has the pairs of a tuple
            in reverse order, in one row.)
        channels: "last" (the default) or "first": (batch, channels, depth, height, width).

    Raises:
        ValueError: padding is negative (to take numbers away, use :class:`Crop3D`); when the network
            is built, if the input has other axes.

    Source: PyTorch's ZeroPad3d, Keras's ZeroPadding3D.
    """

    axes: ClassVar[int] = 3
