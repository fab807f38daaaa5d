"""Channels made into pixels, and pixels into channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nnbackend.core.checks import set_size
from nnbackend.core.types import Array, Context, Namespace, Shape
from nnbackend.layers.base import register_layer
from nnbackend.layers.pooling.base import SpatialLayer
from nnbackend.layers.pooling.stages import Pullback
from nnbackend.layers.spatial import input_lengths, output_shape, set_channels

__all__ = ["PixelShuffle", "PixelUnshuffle"]


@register_layer
@dataclass(frozen=True)
class PixelShuffle(SpatialLayer):
    """Each pixel with factor² times the channels made into a square of pixels.

    ``y[h f + i, w f + j, c] = x[h, w, (c f + i) f + j]``: the channels of x hold f² numbers of the first
    channel of y, row by row, then those of the second, as PyTorch has them. (TensorFlow's
    depth_to_space has the channels of the first pixel first.) The backward pass is
    :class:`PixelUnshuffle`.

    Shape: (batch, height, width, channels * factor²) → (batch, height * factor, width * factor,
    channels).

    Args:
        factor: how many times as high and as wide the output is, a whole number.
        channels: "last" (the default) or "first": (batch, channels, height, width).

    Raises:
        ValueError: ``factor`` is below 1; when the network is built, if the input has other axes, or
            its channels are not divisible by factor².

    Source: PyTorch's PixelShuffle; Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution
    Using an Efficient Sub-Pixel Convolutional Neural Network".
    """

    axes: ClassVar[int] = 2

    factor: int
    channels: str = "last"

    def __post_init__(self) -> None:
        set_size(self, "factor")
        set_channels(self)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the output.

        Raises:
            ValueError: the channels are not divisible by factor².
        """
        (height, width), count = input_lengths(input_shape, 2, self.channels)
        f, square = self.factor, self.factor**2
        if count % square:
            raise ValueError(
                f"factor {f} needs a number of channels that is divisible by {square}, got {count}"
            )
        return output_shape((height * f, width * f), count // square, self.channels)

    def transform(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the larger image, and ``backward(dy) -> dx``."""
        xp, factor = ctx.xp, self.factor
        return shuffled(x, factor, xp), lambda dy: unshuffled(dy, factor, xp)


@register_layer
@dataclass(frozen=True)
class PixelUnshuffle(SpatialLayer):
    """Each square of pixels made into one with factor² times the channels.

    ``y[h, w, (c f + i) f + j] = x[h f + i, w f + j, c]``, the inverse of :class:`PixelShuffle`, which is
    its backward pass.

    Shape: (batch, height, width, channels) → (batch, height / factor, width / factor,
    channels * factor²).

    Args:
        factor: the height and width of a square, a whole number.
        channels: "last" (the default) or "first": (batch, channels, height, width).

    Raises:
        ValueError: ``factor`` is below 1; when the network is built, if the input has other axes, or
            its height or width is not divisible by ``factor``.

    Source: PyTorch's PixelUnshuffle.
    """

    axes: ClassVar[int] = 2

    factor: int
    channels: str = "last"

    def __post_init__(self) -> None:
        set_size(self, "factor")
        set_channels(self)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the output.

        Raises:
            ValueError: the height or width is not divisible by ``factor``.
        """
        (height, width), count = input_lengths(input_shape, 2, self.channels)
        f = self.factor
        if height % f or width % f:
            raise ValueError(
                f"factor {f} needs a height and a width that are divisible by it, got "
                f"{height} and {width}"
            )
        return output_shape((height // f, width // f), count * f * f, self.channels)

    def transform(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the smaller image, and ``backward(dy) -> dx``."""
        xp, factor = ctx.xp, self.factor
        return unshuffled(x, factor, xp), lambda dy: shuffled(dy, factor, xp)


def shuffled(x: Array, f: int, xp: Namespace) -> Array:
    """Return an array of shape (batch, height, width, channels) with channels made into pixels."""
    batch, height, width, count = x.shape
    parts = xp.reshape(x, (batch, height, width, count // (f * f), f, f))
    parts = xp.permute_dims(parts, (0, 1, 4, 2, 5, 3))
    return xp.reshape(parts, (batch, height * f, width * f, count // (f * f)))


def unshuffled(x: Array, f: int, xp: Namespace) -> Array:
    """Return an array of shape (batch, height, width, channels) with pixels made into channels."""
    batch, height, width, count = x.shape
    parts = xp.reshape(x, (batch, height // f, f, width // f, f, count))
    parts = xp.permute_dims(parts, (0, 1, 3, 5, 2, 4))
    return xp.reshape(parts, (batch, height // f, width // f, count * f * f))
