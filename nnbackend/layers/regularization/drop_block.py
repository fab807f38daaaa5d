"""Dropout of contiguous blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nnbackend.core import functional, random
from nnbackend.core.checks import set_number, set_size
from nnbackend.core.types import Array, Context, Namespace, Shape
from nnbackend.layers.base import Parameterless, register_layer
from nnbackend.layers.spatial import set_channels

__all__ = ["DropBlock"]


@register_layer
@dataclass(frozen=True)
class DropBlock(Parameterless):
    """Drop blocks of neighboring numbers in training: intervals, squares or cubes of ``size``.

    ``y = x * s * m`` with a random mask ``m`` of zeros and ones; ``dx = dy * s * m``. In each channel
    a block is set to zero wherever one fits, with a probability of ::

        gamma = rate / size**n * product of length / (length - size + 1) over the n axes

    so that about ``rate`` of all numbers are dropped, less where blocks overlap. ``s`` is, for each row,
    how many numbers there are divided by how many are kept, so that ``s m`` has the mean 1 (the paper
    and torchvision count over the whole batch: then rows would depend on each other, and on padding).
    Outside training ``y = x``. The mask depends only on the seed, the layer's place in the network, the
    training step and the row, and is the same on every backend. ``(*lengths, channels)`` -> the same.

    Args:
        rate: the fraction dropped, at least 0 and below 1. The paper lets it rise from 0 in training,
            and ends at 0.1.
        size: the length of a block along each axis; default 7. It is no longer than the axis.
        channels: where channels are: ``"last"`` (the default) or ``"first"``, behind the batch.

    Raises:
        ValueError: ``rate`` is out of range or ``size`` below 1; or, when the network is built, rows
            have no axis beside the channels.

    Source: Ghiasi, Lin, Le (2018), arXiv:1810.12890.
    """

    rate: float
    size: int = 7
    channels: str = "last"

    def __post_init__(self) -> None:
        set_number(self, "rate", 0.0, 1.0)
        set_size(self, "size")
        set_channels(self)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        if len(input_shape) < 2:
            raise ValueError(
                "DropBlock drops blocks of neighbors, so it needs an axis or more beside the channels, "
                f"and rows have shape {input_shape}; for rows of features there is Dropout"
            )
        return input_shape

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Apply a new mask in training; return ``x`` itself otherwise."""
        if not ctx.training or self.rate == 0.0:
            return x, lambda dy: dy
        mask = self._mask(x, ctx)
        xp, axes, wide = ctx.xp, tuple(range(1, len(x.shape))), ctx.backend.dtype
        kept = functional.total(mask, xp, axes, wide, keepdims=True)
        # Of two arrays, for torch divides a number by an array as a product with the reciprocal, which
        # is rounded twice. A row that is dropped as a whole stays zero.
        scale = xp.full_like(kept, float(math.prod(x.shape[1:]))) / xp.maximum(kept, 1.0)
        mask *= xp.astype(scale, x.dtype, copy=False)
        ctx.note("mask", mask)
        return x * mask, lambda dy: dy * mask

    def _mask(self, x: Array, ctx: Context) -> Array:
        """Return zeros where numbers are dropped, and ones elsewhere."""
        first = 2 if self.channels == "first" else 1
        spatial = range(first, first + len(x.shape) - 2)
        sizes = {axis: min(self.size, x.shape[axis]) for axis in spatial}
        gamma, corners = self.rate, [slice(None)] * len(x.shape)
        for axis, size in sizes.items():
            count = x.shape[axis] - size + 1
            gamma *= x.shape[axis] / (size * count)
            corners[axis] = slice(count)
        # A zero at the first corner of each block; of x only the shape is looked at.
        like = x[tuple(corners)]
        mask = random.bernoulli_mask(ctx.key, ctx.step, like, gamma, ctx.backend, ctx.first_row)
        for axis, size in sizes.items():
            mask = mask if size == 1 else _spread(mask, axis, size, ctx)
        return mask


def _spread(mask: Array, axis: int, size: int, ctx: Context) -> Array:
    """Return the mask with each zero spread over ``size`` places along an axis, which it grows by.

    ``y_i = min(x_i, x_i-1, ..., x_i-size+1)`` of those that there are.
    """
    xp: Namespace = ctx.xp
    shape: Sequence[int] = mask.shape
    around = (*shape[:axis], size - 1, *shape[axis + 1 :])
    ones = xp.ones(around, dtype=mask.dtype, device=ctx.backend.device)
    wide = xp.concat([ones, mask, ones], axis=axis)
    length = shape[axis] + size - 1
    before = (slice(None),) * axis
    spread = wide[(*before, slice(length), ...)]
    for start in range(1, size):
        spread = xp.minimum(spread, wide[(*before, slice(start, start + length), ...)])
    return spread
