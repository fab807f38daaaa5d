"""Pooling to a given size: bins that cover the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nnbackend.core.types import Array, Context
from nnbackend.layers.base import register_layer
from nnbackend.layers.pooling.base import SpatialLayer, in_wide
from nnbackend.layers.pooling.stages import (
    Bins,
    Pullback,
    Windows,
    along_axes,
    largest,
    mean,
    total,
)
from nnbackend.layers.spatial import Sizes, set_channels, set_sizes

__all__ = [
    "AdaptiveAveragePool1D",
    "AdaptiveAveragePool2D",
    "AdaptiveAveragePool3D",
    "AdaptiveMaxPool1D",
    "AdaptiveMaxPool2D",
    "AdaptiveMaxPool3D",
]


@dataclass(frozen=True)
class AdaptivePooling(SpatialLayer):
    """Pooling to a given size over any number of spatial axes."""

    size: int | Sizes
    channels: str = "last"

    def __post_init__(self) -> None:
        set_sizes(self, self.axes, "size")
        set_channels(self)

    def output_lengths(self, lengths: Sizes) -> Sizes:
        """Return the number of bins along each axis."""
        return self.size  # type: ignore[return-value]

    def bins(self, axis: int, length: int) -> Bins | Windows:
        """Return the bins along an axis; of equal sizes they are windows."""
        count: int = self.size[axis]  # type: ignore[index]
        width, left = divmod(length, count)
        return Bins(count) if left or not width else Windows(width, width)


@dataclass(frozen=True)
class AdaptiveMaxPooling(AdaptivePooling):
    """Max pooling to a given size; see :class:`AdaptiveMaxPool2D`."""

    def transform(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the largest numbers of the bins, and ``backward(dy) -> dx``."""
        return along_axes(
            x, self.axes, lambda x, axis: largest(self.bins(axis, x.shape[1]), x, ctx), ctx.xp
        )


@dataclass(frozen=True)
class AdaptiveAveragePooling(AdaptivePooling):
    """Average pooling to a given size; see :class:`AdaptiveAveragePool2D`."""

    def transform(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the means of the bins, and ``backward(dy) -> dx``."""

        def stage(x: Array, axis: int) -> tuple[Array, Pullback]:
            bins = self.bins(axis, x.shape[1])
            if isinstance(bins, Bins):
                return mean(bins, x, ctx)
            sums, pullback = total(bins, x, ctx)
            factor = 1.0 / bins.size
            return sums * factor, lambda dy: pullback(dy * factor)

        return in_wide(x, ctx, lambda x: along_axes(x, self.axes, stage, ctx.xp))


@register_layer
@dataclass(frozen=True)
class AdaptiveAveragePool1D(AdaptiveAveragePooling):
    """The means of a given number of bins over one spatial axis.

    Along an axis of n numbers bin i of m goes from ``floor(i n / m)`` to ``ceil((i + 1) n / m)``; bins
    may share numbers, and there may be more of them than numbers.

    Shape: (batch, length, channels) → ``(batch, *size, channels)``.

    Args:
        size: the number of bins: a whole number, or one for each spatial axis.
        channels: "last" (the default) or "first": (batch, channels, length).

    Raises:
        ValueError: ``size`` is below 1; when the network is built, if the input has other axes.

    Source: PyTorch's AdaptiveAvgPool1d.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class AdaptiveAveragePool2D(AdaptiveAveragePooling):
    """The means of a given number of bins over two spatial axes.

    Along an axis of n numbers bin i of m goes from ``floor(i n / m)`` to ``ceil((i + 1) n / m)``; bins
    may share numbers, and there may be more of them than numbers.

    Shape: (batch, height, width, channels) → ``(batch, *size, channels)``.

    Args:
        size: the number of bins: a whole number, or one for each spatial axis.
        channels: "last" (the default) or "first": (batch, channels, height, width).

    Raises:
        ValueError: ``size`` is below 1; when the network is built, if the input has other axes.

    Source: PyTorch's AdaptiveAvgPool2d.
    """

    axes: ClassVar[int] = 2


@register_layer
@dataclass(frozen=True)
class AdaptiveAveragePool3D(AdaptiveAveragePooling):
    """The means of a given number of bins over three spatial axes.

    Along an axis of n numbers bin i of m goes from ``floor(i n / m)`` to ``ceil((i + 1) n / m)``; bins
    may share numbers, and there may be more of them than numbers.

    Shape: (batch, depth, height, width, channels) → ``(batch, *size, channels)``.

    Args:
        size: the number of bins: a whole number, or one for each spatial axis.
        channels: "last" (the default) or "first": (batch, channels, depth, height, width).

    Raises:
        ValueError: ``size`` is below 1; when the network is built, if the input has other axes.

    Source: PyTorch's AdaptiveAvgPool3d.
    """

    axes: ClassVar[int] = 3


@register_layer
@dataclass(frozen=True)
class AdaptiveMaxPool1D(AdaptiveMaxPooling):
    """The largest numbers of a given number of bins over one spatial axis.

    Bins are those of :class:`AdaptiveAveragePool2D`; gradients go as in :class:`MaxPool2D`.

    Shape: (batch, length, channels) → ``(batch, *size, channels)``.

    Args:
        size: the number of bins: a whole number, or one for each spatial axis.
        channels: "last" (the default) or "first": (batch, channels, length).

    Raises:
        ValueError: ``size`` is below 1; when the network is built, if the input has other axes.

    Source: PyTorch's AdaptiveMaxPool1d.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class AdaptiveMaxPool2D(AdaptiveMaxPooling):
    """The largest numbers of a given number of bins over two spatial axes.

    Bins are those of :class:`AdaptiveAveragePool2D`; gradients go as in :class:`MaxPool2D`.

    Shape: (batch, height, width, channels) → ``(batch, *size, channels)``.

    Args:
        size: the number of bins: a whole number, or one for each spatial axis.
        channels: "last" (the default) or "first": (batch, channels, height, width).

    Raises:
        ValueError: ``size`` is below 1; when the network is built, if the input has other axes.

    Source: PyTorch's AdaptiveMaxPool2d.
    """

    axes: ClassVar[int] = 2


@register_layer
@dataclass(frozen=True)
class AdaptiveMaxPool3D(AdaptiveMaxPooling):
    """The largest numbers of a given number of bins over three spatial axes.

    Bins are those of :class:`AdaptiveAveragePool2D`; gradients go as in :class:`MaxPool2D`.

    Shape: (batch, depth, height, width, channels) → ``(batch, *size, channels)``.

    Args:
        size: the number of bins: a whole number, or one for each spatial axis.
        channels: "last" (the default) or "first": (batch, channels, depth, height, width).

    Raises:
        ValueError: ``size`` is below 1; when the network is built, if the input has other axes.

    Source: PyTorch's AdaptiveMaxPool3d.
    """

    axes: ClassVar[int] = 3
