"""The mean of each window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from nnbackend.core.checks import set_flag
from nnbackend.core.types import Array, Context
from nnbackend.layers.base import register_layer
from nnbackend.layers.pooling.base import WindowPooling, in_wide, numbers_inside
from nnbackend.layers.pooling.stages import Pullback, Windows, total
from nnbackend.layers.spatial import Padding, Sizes

__all__ = ["AveragePool1D", "AveragePool2D", "AveragePool3D"]


@dataclass(frozen=True)
class AveragePooling(WindowPooling):
    """Average pooling over any number of spatial axes; see :class:`AveragePool2D`."""

    size: int | Sizes
    stride: int | Sizes | None = None
    padding: Padding = "valid"
    count_padding: bool = True
    channels: str = "last"

    def __post_init__(self) -> None:
        self._check_fields()
        set_flag(self, "count_padding")

    def pool(self, how: Windows, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the sums."""
        return total(how, x, ctx)

    def transform(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the means: the sums divided by the numbers of numbers."""
        factor = self._factor(x, ctx)

        def means(x: Array) -> tuple[Array, Pullback]:
            sums, pullback = super(AveragePooling, self).transform(x, ctx)
            scale = factor if isinstance(factor, float) else ctx.xp.astype(factor, x.dtype)
            return sums * scale, lambda dy: pullback(dy * scale)

        return in_wide(x, ctx, means)

    def _factor(self, x: Array, ctx: Context) -> float | Array:
        """Return one divided by the number of numbers in a window, or in each."""
        lengths = tuple(x.shape[1:-1])
        pairs = self.pairs(lengths)
        if self.count_padding or not any(map(any, pairs)):
            return 1.0 / math.prod(self.size)  # type: ignore[arg-type]
        xp, factor = ctx.xp, 1.0
        counts = self.output_lengths(lengths)
        for axis, how in enumerate(self.windows()):
            inside = numbers_inside(how, lengths[axis], pairs[axis][0], counts[axis])
            parts = [1.0 / number for number in inside]
            one = xp.asarray(parts, dtype=ctx.backend.dtype, device=ctx.backend.device)
            factor = factor * xp.reshape(one, (-1, *(1,) * (self.axes - axis)))
        return factor


@register_layer
@dataclass(frozen=True)
class AveragePool1D(AveragePooling):
    """The mean of each window over one spatial axis.

    ``y[i] = mean over a of x[i s + a]``. In the backward pass all numbers of a window get the same
    part of its gradient.

    Shape: (batch, length, channels) → (batch, length', channels), with ``length' =
    (length + padding - size) // stride + 1``.

    Args:
        size: the numbers in a window: a whole number, or one for each spatial axis.
        stride: the distance from one window to the next, likewise; None (the default): ``size``.
        padding: "valid" (none), "same", a whole number, or a tuple with a number or a pair (before,
            after) for each axis; see :class:`nnbackend.Conv2D`. Default "valid".
        count_padding: whether the zeros of the padding count as numbers, as they do in PyTorch
            (``count_include_pad``) by default; Keras leaves them out. Default True.
        channels: "last" (the default) or "first": (batch, channels, length).

    Raises:
        ValueError: a size is below 1 or padding negative; when the network is built, if the input has
            other axes, a window is larger than the padded input, or padding fills a window.

    Source: PyTorch's AvgPool1d (without ceil_mode), Keras's AveragePooling1D.
    """

    axes: ClassVar[int] = 1


@register_layer
@dataclass(frozen=True)
class AveragePool2D(AveragePooling):
    """The mean of each window over two spatial axes.

    ``y[i, j] = mean over a, b of x[i s + a, j s + b]``. In the backward pass all numbers of a window
    get the same part of its gradient.

    Shape: (batch, height, width, channels) → (batch, height', width', channels), with ``length' =
    (length + padding - size) // stride + 1``.

    Args:
        size: the numbers in a window: a whole number, or one for each spatial axis.
        stride: the distance from one window to the next, likewise; None (the default): ``size``.
        padding: "valid" (none), "same", a whole number, or a tuple with a number or a pair (before,
            after) for each axis; see :class:`nnbackend.Conv2D`. Default "valid".
        count_padding: whether the zeros of the padding count as numbers, as they do in PyTorch
            (``count_include_pad``) by default; Keras leaves them out. Default True.
        channels: "last" (the default) or "first": (batch, channels, height, width).

    Raises:
        ValueError: a size is below 1 or padding negative; when the network is built, if the input has
            other axes, a window is larger than the padded input, or padding fills a window.

    Source: PyTorch's AvgPool2d (without ceil_mode), Keras's AveragePooling2D.
    """

    axes: ClassVar[int] = 2


@register_layer
@dataclass(frozen=True)
class AveragePool3D(AveragePooling):
    """The mean of each window over three spatial axes.

    ``y[h, i, j] = mean over a, b, c of x[h s + a, i s + b, j s + c]``. In the backward pass all
    numbers of a window get the same part of its gradient.

    Shape: (batch, depth, height, width, channels) → (batch, depth', height', width', channels), with
    ``length' = (length + padding - size) // stride + 1``.

    Args:
        size: the numbers in a window: a whole number, or one for each spatial axis.
        stride: the distance from one window to the next, likewise; None (the default): ``size``.
        padding: "valid" (none), "same", a whole number, or a tuple with a number or a pair (before,
            after) for each axis; see :class:`nnbackend.Conv2D`. Default "valid".
        count_padding: whether the zeros of the padding count as numbers, as they do in PyTorch
            (``count_include_pad``) by default; Keras leaves them out. Default True.
        channels: "last" (the default) or "first": (batch, channels, depth, height, width).

    Raises:
        ValueError: a size is below 1 or padding negative; when the network is built, if the input has
            other axes, a window is larger than the padded input, or padding fills a window.

    Source: PyTorch's AvgPool3d (without ceil_mode), Keras's AveragePooling3D.
    """

    axes: ClassVar[int] = 3
