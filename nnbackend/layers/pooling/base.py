"""What the layers that pool windows share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

from nnbackend.core.functional import is_half
from nnbackend.core.types import Array, Context, Shape
from nnbackend.layers.base import Parameterless
from nnbackend.layers.pooling.stages import Pullback, Windows, along_axes
from nnbackend.layers.spatial import (
    Pairs,
    Sizes,
    channels_as_given,
    channels_last,
    input_lengths,
    output_lengths,
    output_shape,
    pad,
    pad_adjoint,
    padding_pairs,
    set_channels,
    set_padding,
    set_sizes,
)

__all__ = ["SpatialLayer", "WindowPooling", "check_input", "in_wide"]


class SpatialLayer(Parameterless):
    """The base of layers without parameters over spatial axes; a subclass is a frozen dataclass."""

    axes: ClassVar[int]
    """How many spatial axes there are."""

    channels: str

    def output_lengths(self, lengths: Sizes) -> Sizes:
        """Return the lengths of the output's spatial axes."""
        raise NotImplementedError

    def transform(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the output for ``x`` of shape ``(batch, *lengths, channels)``, and ``backward(dy)``."""
        raise NotImplementedError

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the output."""
        lengths, count = input_lengths(input_shape, self.axes, self.channels)
        return output_shape(self.output_lengths(lengths), count, self.channels)

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Return the output and the backward pass, channels where the user has them."""
        xp, channels = ctx.xp, self.channels
        check_input(self, x, ctx)
        y, pullback = self.transform(channels_last(x, channels, xp), ctx)

        def backward(dy: Array) -> Array:
            return channels_as_given(pullback(channels_last(dy, channels, xp)), channels, xp)

        return channels_as_given(y, channels, xp), backward


class WindowPooling(SpatialLayer):
    """The base of layers that make a number of each window; a subclass is a frozen dataclass."""

    outside: ClassVar[float] = 0.0
    """The number that padding consists of."""

    size: Any
    stride: Any
    padding: Any

    def _check_fields(self) -> None:
        """Check the fields that these layers have, and convert them."""
        set_sizes(self, self.axes, "size")
        if self.stride is None:
            object.__setattr__(self, "stride", self.size)
        set_sizes(self, self.axes, "stride")
        if hasattr(self, "dilation"):
            set_sizes(self, self.axes, "dilation")
        set_padding(self, self.axes)
        set_channels(self)

    def pool(self, how: Windows, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return what is made of each window along axis 1 of (rows, length, width)."""
        raise NotImplementedError

    def windows(self) -> tuple[Windows, ...]:
        """Return how windows lie along each spatial axis."""
        dilation = getattr(self, "dilation", (1,) * self.axes)
        return tuple(map(Windows, self.size, self.stride, dilation))

    def pairs(self, lengths: Sizes) -> Pairs:
        """Return how much is put before and after along each spatial axis of these lengths."""
        dilation = getattr(self, "dilation", (1,) * self.axes)
        return padding_pairs(self.padding, lengths, self.size, self.stride, dilation)

    def output_lengths(self, lengths: Sizes) -> Sizes:
        """Return the number of windows along each spatial axis.

        Raises:
            ValueError: a window does not fit, or has no number of the input in it.
        """
        pairs = self.pairs(lengths)
        dilation = getattr(self, "dilation", (1,) * self.axes)
        counts = output_lengths(lengths, self.size, self.stride, pairs, dilation)
        for how, n, pair, count in zip(self.windows(), lengths, pairs, counts, strict=True):
            if leaves_windows_empty(how, n, pair[0], count):
                raise ValueError(
                    f"padding of {pair} leaves windows of size {how.size} with no number of an "
                    f"input of length {n} in them; use less padding"
                )
        return counts

    def transform(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return the pooled input, and ``backward(dy) -> dx``."""
        backend, windows = ctx.backend, self.windows()
        pairs = self.pairs(tuple(x.shape[1:-1]))
        wide = pad(x, pairs, backend, value=self.outside)
        y, pullback = along_axes(
            wide, self.axes, lambda x, axis: self.pool(windows[axis], x, ctx), ctx.xp
        )
        return y, lambda dy: pad_adjoint(pullback(dy), pairs, backend)


def in_wide(
    x: Array, ctx: Context, function: Callable[[Array], tuple[Array, Pullback]]
) -> tuple[Array, Pullback]:
    """Apply a function that adds numbers up; those of 16 bits are added in the network's dtype."""
    if not is_half(x.dtype):
        return function(x)
    xp, half, wide = ctx.xp, x.dtype, ctx.backend.dtype
    y, pullback = function(xp.astype(x, wide))
    return xp.astype(y, half), lambda dy: xp.astype(pullback(xp.astype(dy, wide)), half)


@lru_cache(maxsize=256)
def numbers_inside(how: Windows, length: int, before: int, count: int) -> tuple[int, ...]:
    """Return how many numbers of each window are of the input, not of the padding.

    Args:
        how: how windows lie.
        length: the length of the axis without padding.
        before: how much is put before it.
        count: the number of windows.
    """
    inside = []
    for start in range(-before, count * how.stride - before, how.stride):
        first = max(0, -(start // how.dilation))
        last = min(how.size - 1, (length - 1 - start) // how.dilation)
        inside.append(max(0, last - first + 1))
    return tuple(inside)


def leaves_windows_empty(how: Windows, length: int, before: int, count: int) -> bool:
    """Return whether ``0 in numbers_inside(...)``, in a time that sizes in a file do not make long."""
    if (count - 1) * how.stride - before >= length or before > how.dilation * (how.size - 1):
        return True  # the last one begins behind the input, or the first one ends before it
    if length >= how.dilation:  # no window steps over the input
        return False
    period = how.dilation // math.gcd(how.stride, how.dilation)
    starts = range(-before, 0, how.stride)[: min(count, period)]
    return any(start % how.dilation >= length for start in starts)


def check_input(layer: SpatialLayer, x: Array, ctx: Context) -> None:
    """Raise a ValueError that names the layer by its path if a batch does not have its shape."""
    try:
        layer.output_shape(tuple(x.shape[1:]))
    except ValueError as error:
        where = f"{'.'.join(ctx.path)}: " if ctx.path else ""
        raise ValueError(f"{where}{error}") from None
