"""Pooling over whole spatial axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from nnbackend.core.types import Array, Context, Shape
from nnbackend.layers.base import register_layer
from nnbackend.layers.pooling.base import SpatialLayer, check_input, in_wide
from nnbackend.layers.pooling.stages import Pullback
from nnbackend.layers.spatial import input_lengths, set_channels

__all__ = [
    "GlobalAveragePool1D",
    "GlobalAveragePool2D",
    "GlobalAveragePool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
]


@dataclass(frozen=True)
class GlobalPooling(SpatialLayer):
    """Pooling over whole spatial axes, which are gone afterwards."""

    channels: str = "last"

    def __post_init__(self) -> None:
        set_channels(self)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the number of channels."""
        return (input_lengths(input_shape, self.axes, self.channels)[1],)

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the output, of shape (batch, channels), and the backward pass."""
        xp, shape = ctx.xp, tuple(x.shape)
        check_input(self, x, ctx)
        first = self.channels == "first"
        axis, count = (2, shape[1]) if first else (1, shape[-1])
        length = math.prod(shape[2:] if first else shape[1:-1])
        rows = (shape[0], count, length) if first else (shape[0], length, count)
        y, pullback = self.reduce(xp.reshape(x, rows), axis, ctx)
        return y, lambda dy: xp.reshape(pullback(xp.expand_dims(dy, axis=axis)), shape)

    def reduce(self, x: Array, axis: int, ctx: Context) -> tuple[Array, Pullback]:
        """Return an array of three axes without one of them; the gradient that comes back has it."""
        raise NotImplementedError


@dataclass(frozen=True)
class GlobalAveragePooling(GlobalPooling):
    """The mean over all spatial axes; see :class:`GlobalAveragePool2D`."""

    def reduce(self, x: Array, axis: int, ctx: Context) -> tuple[Array, Pullback]:
        """Return the means."""
        xp, shape = ctx.xp, x.shape
        factor = 1.0 / shape[axis]

        def means(x: Array) -> tuple[Array, Pullback]:
            return xp.sum(x, axis=axis) * factor, lambda dy: xp.broadcast_to(dy * factor, shape)

        return in_wide(x, ctx, means)


@dataclass(frozen=True)
class GlobalMaxPooling(GlobalPooling):
    """The largest number over all spatial axes; see :class:`GlobalMaxPool2D`."""

    def reduce(self, x: Array, axis: int, ctx: Context) -> tuple[Array, Pullback]:
        """Return the largest numbers."""
        xp, length = ctx.xp, x.shape[axis]

        def backward(dy: Array) -> Array:
            first = xp.argmax(x, axis=axis, keepdims=True)
            numbers = xp.arange(length, dtype=first.dtype, device=ctx.backend.device)
            places = xp.reshape(numbers, (length, 1) if axis == 1 else (length,))
            return xp.astype(first == places, dy.dtype) * dy

        return xp.max(x, axis=axis), backward


@register_layer
@dataclass(frozen=True)
class GlobalAveragePool1D(GlobalAveragePooling):
    """The mean of each channel over one spatial axis; all its numbers share the gradient.

    Shape: (batch, length, channels) → (batch, channels).

    Args:
        channels: "last" (the default) or "first": (batch, channels, length).

    Raises:
        ValueError: ``channels`` is another; when the network is built, if the input has other axes.

    Source: PyTorch's AdaptiveAvgPool1d(1), Keras's GlobalAveragePooling1D.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class GlobalAveragePool2D(GlobalAveragePooling):
    """The mean of each channel over two spatial axes; all its numbers share the gradient.

    Shape: (batch, height, width, channels) → (batch, channels).

    Args:
        channels: "last" (the default) or "first": (batch, channels, height, width).

    Raises:
        ValueError: ``channels`` is another; when the network is built, if the input has other axes.

    Source: PyTorch's AdaptiveAvgPool2d(1), Keras's GlobalAveragePooling2D.
    """

    axes: ClassVar[int] = 2


@register_layer
@dataclass(frozen=True)
class GlobalAveragePool3D(GlobalAveragePooling):
    """The mean of each channel over three spatial axes; all its numbers share the gradient.

    Shape: (batch, depth, height, width, channels) → (batch, channels).

    Args:
        channels: "last" (the default) or "first": (batch, channels, depth, height, width).

    Raises:
        ValueError: ``channels`` is another; when the network is built, if the input has other axes.

    Source: PyTorch's AdaptiveAvgPool3d(1), Keras's GlobalAveragePooling3D.
    """

    axes: ClassVar[int] = 3


@register_layer
@dataclass(frozen=True)
class GlobalMaxPool1D(GlobalMaxPooling):
    """The largest number of each channel over one spatial axis; it gets the gradient.

    Of equal numbers the first gets it. NaN is larger than any number.

    Shape: (batch, length, channels) → (batch, channels).

    Args:
        channels: "last" (the default) or "first": (batch, channels, length).

    Raises:
        ValueError: ``channels`` is another; when the network is built, if the input has other axes.

    Source: PyTorch's AdaptiveMaxPool1d(1), Keras's GlobalMaxPooling1D.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class GlobalMaxPool2D(GlobalMaxPooling):
    """The largest number of each channel over two spatial axes; it gets the gradient.

    Of equal numbers the first gets it. NaN is larger than any number.

    Shape: (batch, height, width, channels) → (batch, channels).

    Args:
        channels: "last" (the default) or "first": (batch, channels, height, width).

    Raises:
        ValueError: ``channels`` is another; when the network is built, if the input has other axes.

    Source: PyTorch's AdaptiveMaxPool2d(1), Keras's GlobalMaxPooling2D.
    """

    axes: ClassVar[int] = 2


@register_layer
@dataclass(frozen=True)
class GlobalMaxPool3D(GlobalMaxPooling):
    """The largest number of each channel over three spatial axes; it gets the gradient.

    Of equal numbers the first gets it. NaN is larger than any number.

    Shape: (batch, depth, height, width, channels) → (batch, channels).

    Args:
        channels: "last" (the default) or "first": (batch, channels, depth, height, width).

    Raises:
        ValueError: ``channels`` is another; when the network is built, if the input has other axes.

    Source: PyTorch's AdaptiveMaxPool3d(1), Keras's GlobalMaxPooling3D.
    """

    axes: ClassVar[int] = 3
