"""Stochastic depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnbackend.core import random
from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Context
from nnbackend.layers.base import Parameterless, register_layer

__all__ = ["DropPath"]


@register_layer
@dataclass(frozen=True)
class DropPath(Parameterless):
    """Drop a whole row with probability ``rate`` in training, and scale up the others.

    ``y = x * m / (1 - rate)`` with a random mask ``m`` of zeros and ones, one for each row;
    ``dx = dy * m / (1 - rate)``. Outside training ``y = x``. Put last into a Residual it drops the
    branch and keeps the connection around it, ``y = x + f(x) m / (1 - rate)``: stochastic depth. ::

        Residual([Dense(16, "relu"), Dense(8), DropPath(0.1)])

    The mask depends only on the seed, the layer's place in the network, the training step and the row,
    and is the same on every backend.

    Args:
        rate: the fraction dropped, at least 0 and below 1. It is rounded to a multiple of 2**-24.

    Raises:
        ValueError: ``rate`` is out of range.

    Source: Huang, Sun, Liu, Sedra, Weinberger (2016), arXiv:1603.09382; scaled in training, as in
    Larsson, Maire, Shakhnarovich (2017), arXiv:1605.07648.
    """

    rate: float

    def __post_init__(self) -> None:
        set_number(self, "rate", 0.0, 1.0)

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Apply a new mask in training; return ``x`` itself otherwise."""
        if not ctx.training or self.rate == 0.0:
            return x, lambda dy: dy
        axes = len(x.shape) - 1
        like = x[(slice(None), *(0,) * axes)]
        mask = random.bernoulli_mask(ctx.key, ctx.step, like, self.rate, ctx.backend, ctx.first_row)
        mask *= 1.0 / (1.0 - self.rate)
        mask = ctx.note("mask", ctx.xp.reshape(mask, (x.shape[0], *(1,) * axes)))
        return x * mask, lambda dy: dy * mask
