"""Random shifts of images, and crops of padded images, which are the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbackend.core.checks import check_number, check_size
from nnbackend.core.types import Array, Context, Shape
from nnbackend.errors import given
from nnbackend.transforms.base import (
    ImageTransform,
    register_transform,
    row_words,
    uniform_integers,
)

__all__ = ["RandomCrop", "RandomShift"]


@register_transform
@dataclass(frozen=True)
class RandomCrop(ImageTransform):
    """Cut a part out of each image, at a random place, after padding it on all sides.

    ``y[n, i, j] = x[n, i + s_n - padding, j + t_n - padding]``, with ``s_n`` uniform over
    0 ... height + 2 padding - size, and ``t_n`` likewise; ``fill`` outside the image.

    Args:
        size: the size of the part, a number or one for each spatial axis; None (the default): that of
            the images. Another size needs layers that take any, such as convolutions and global pooling:
            predictions see whole images.
        padding: how much is added on each side; default 4, as is usual for the images of CIFAR-10.
        fill: what is put there: a number, by default 0, or ``"edge"``: the nearest number of the image.
        channels: see :class:`ImageTransform`, as ``input``.

    Raises:
        ValueError: a value is out of range; or, when ``fit`` starts, a part is larger than the padded
            images, or the network takes no images of that size.

    Source: He, Zhang, Ren, Sun (2016), section 4.2, for padding 4.
    """

    size: int | tuple[int, ...] | None = None
    padding: int = 4
    fill: float | str = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.size, tuple | list) and self.size:
            size = tuple(check_size("size", number) for number in self.size)
            object.__setattr__(self, "size", size)
        elif self.size is not None:
            object.__setattr__(self, "size", check_size("size", self.size))
        object.__setattr__(self, "padding", check_size("padding", self.padding, 0))
        object.__setattr__(self, "fill", check_fill(self.fill))

    def shape_after(self, lengths: Shape) -> Shape:
        """Return the size of a part."""
        size = self.size
        sizes = size if isinstance(size, tuple) else tuple(size or n for n in lengths)
        if len(sizes) != len(lengths):
            raise ValueError(f"size has {len(sizes)} numbers, and images have lengths {lengths}")
        if any(s > n + 2 * self.padding for s, n in zip(sizes, lengths, strict=True)):
            raise ValueError(
                f"parts of size {sizes} are larger than images of {lengths} with padding {self.padding}"
            )
        return sizes

    def change(self, x: Array, ctx: Context) -> Array:
        """Return a part of each image."""
        axes = self.spatial_axes(len(x.shape))
        lengths = tuple(x.shape[axis] for axis in axes)
        sizes, words = self.shape_after(lengths), row_words(ctx, x.shape[0], len(axes))
        starts = [
            uniform_integers(words[:, i], length + 2 * self.padding - size + 1) - self.padding
            for i, (length, size) in enumerate(zip(lengths, sizes, strict=True))
        ]
        return moved(x, axes, starts, sizes, self.fill, ctx)


@register_transform
@dataclass(frozen=True)
class RandomShift(ImageTransform):
    """Shift each image by a random number of places along each spatial axis.

    ``y[n, i, j] = x[n, i + s_n, j + t_n]``, with ``s_n`` and ``t_n`` uniform over the whole numbers from
    -limit to limit; ``fill`` outside the image.

    Args:
        pixels: the limit along each axis, 0 or more; default None: ``fraction`` gives it.
        fraction: the limit as a part of the axis's length, from 0 to below 1, rounded down.
        fill: what is put where the image was: a number, by default 0, or ``"edge"``: the nearest number
            of the image.
        channels: see :class:`ImageTransform`, as ``input``.

    Raises:
        ValueError: not one of ``pixels`` and ``fraction`` is given, or a value is out of range.
    """

    pixels: int | None = None
    fraction: float | None = None
    fill: float | str = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.pixels is None) == (self.fraction is None):
            raise ValueError("give pixels or fraction, one of them")
        if self.pixels is not None:
            object.__setattr__(self, "pixels", check_size("pixels", self.pixels, 0))
        else:
            fraction = check_number("fraction", self.fraction, 0.0, 1.0)
            object.__setattr__(self, "fraction", fraction)
        object.__setattr__(self, "fill", check_fill(self.fill))

    def change(self, x: Array, ctx: Context) -> Array:
        """Return the shifted images."""
        axes = self.spatial_axes(len(x.shape))
        lengths = tuple(x.shape[axis] for axis in axes)
        words = row_words(ctx, x.shape[0], len(axes))
        starts = []
        for i, length in enumerate(lengths):
            pixels = self.pixels
            limit = math.floor((self.fraction or 0.0) * length) if pixels is None else pixels
            starts.append(uniform_integers(words[:, i], 2 * limit + 1) - limit)
        return moved(x, axes, starts, lengths, self.fill, ctx)


def check_fill(value: float | str) -> float | str:
    """Return a number, or "edge"."""
    if isinstance(value, str):
        if value != "edge":
            raise ValueError(f"fill must be a number or 'edge', got {given(value)}")
        return value
    return check_number("fill", value)


def moved(
    x: Array, axes: range, starts: list[Array], sizes: Shape, fill: float | str, ctx: Context
) -> Array:
    """Return parts of images, each from its own place: ``y[n, i, j] = x[n, i + s_n, j + t_n]``.

    Args:
        x: the images.
        axes: their spatial axes.
        starts: for each of these where the parts begin, int32 of shape (rows,); also outside.
        sizes: the sizes of the parts.
        fill: what is outside an image; "edge": the nearest number in it.
        ctx: the context.
    """
    xp, shape = ctx.xp, tuple(x.shape)
    kept = axes.stop  # the axes from here on stay together
    if math.prod(shape[:kept]) >= 1 << 31:
        raise ValueError(f"images of shape {shape} have too many places for indices of 32 bits")
    new_shape = (*shape[: axes.start], *sizes, *shape[kept:])

    def along(array: Array, axis: int) -> Array:
        """Return numbers for each row (or one for all), with one axis more, along an axis."""
        ones = [1] * kept
        ones[axis], ones[0] = array.shape[1], array.shape[0]  # in this order: axis may be 0
        return xp.reshape(array, tuple(ones))

    def count(length: int) -> Array:
        return xp.arange(length, dtype=xp.int32, device=ctx.backend.device)

    index: Array = None
    inside: Array = None
    stride = 1
    for axis in reversed(range(kept)):
        if axis == 0:
            place = along(xp.reshape(count(shape[0]), (-1, 1)), 0)
        elif axis not in axes:
            place = along(xp.reshape(count(shape[axis]), (1, -1)), axis)
        else:
            number, length = axis - axes.start, shape[axis]
            place = starts[number][:, None] + count(sizes[number])[None, :]
            before, behind = place < 0, place >= length
            place = xp.where(before, xp.zeros_like(place), place)
            place = along(xp.where(behind, xp.full_like(place, length - 1), place), axis)
            here = along(xp.logical_not(xp.logical_or(before, behind)), axis)
            inside = here if inside is None else xp.logical_and(inside, here)
        place = place * stride
        index = place if index is None else index + place
        stride *= shape[axis]
    rows = xp.reshape(x, (stride, math.prod(shape[kept:])))
    y = xp.reshape(xp.take(rows, xp.reshape(index, (-1,)), axis=0), new_shape)
    if isinstance(fill, str):
        return y
    outside = xp.asarray(fill, dtype=x.dtype, device=ctx.backend.device)
    inside = xp.reshape(inside, (*inside.shape, *(1,) * (len(shape) - kept)))
    return xp.where(inside, y, outside)
