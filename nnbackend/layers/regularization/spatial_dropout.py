"""Dropout of whole channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnbackend.core import random
from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Context, Shape
from nnbackend.layers.base import Parameterless, register_layer
from nnbackend.layers.spatial import set_channels

__all__ = ["SpatialDropout"]


@register_layer
@dataclass(frozen=True)
class SpatialDropout(Parameterless):
    """Drop each channel of a row with probability ``rate`` in training, and scale up the others.

    ``y = x * m / (1 - rate)`` with a random mask ``m`` of zeros and ones for each row and channel, the
    same at all places of all axes between them; ``dx = dy * m / (1 - rate)``. Neighboring places tell
    much the same, so that dropping single numbers would take little away. Outside training ``y = x``.
    The mask depends only on the seed, the layer's place in the network, the training step and the row,
    and is the same on every backend. ``(*lengths, channels)`` -> the same.

    Args:
        rate: the fraction dropped, at least 0 and below 1. It is rounded to a multiple of 2**-24.
        channels: where channels are: ``"last"`` (the default) or ``"first"``, behind the batch.

    Raises:
        ValueError: ``rate`` is out of range; or, when the network is built, rows have no axis beside the
            channels.

    Source: Tompson, Goroshin, Jain, LeCun, Bregler (2015), arXiv:1411.4280.
    """

    rate: float
    channels: str = "last"

    def __post_init__(self) -> None:
        set_number(self, "rate", 0.0, 1.0)
        set_channels(self)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        if len(input_shape) < 2:
            raise ValueError(
                "SpatialDropout drops whole channels, so it needs an axis or more beside them, and rows "
                f"have shape {input_shape}; for rows of features there is Dropout"
            )
        return input_shape

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Apply a new mask in training; return ``x`` itself otherwise."""
        if not ctx.training or self.rate == 0.0:
            return x, lambda dy: dy
        places, ones = (0,) * (len(x.shape) - 2), (1,) * (len(x.shape) - 2)
        rows, channels = slice(None), slice(None)
        is_first = self.channels == "first"
        like = x[(rows, channels, *places)] if is_first else x[(rows, *places, channels)]
        mask = random.bernoulli_mask(ctx.key, ctx.step, like, self.rate, ctx.backend, ctx.first_row)
        mask *= 1.0 / (1.0 - self.rate)
        n, c = like.shape
        mask = ctx.xp.reshape(mask, (n, c, *ones) if is_first else (n, *ones, c))
        ctx.note("mask", mask)
        return x * mask, lambda dy: dy * mask
