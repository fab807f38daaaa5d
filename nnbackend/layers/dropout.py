"""Dropout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnbackend.core import random
from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Context
from nnbackend.layers.base import Parameterless, register_layer

__all__ = ["Dropout"]


@register_layer
@dataclass(frozen=True)
class Dropout(Parameterless):
    """Drop each number with probability ``rate`` in training and scale up the others.

    ``y = x * m / (1 - rate)`` with a random mask ``m`` of zeros and ones; ``dx = dy * m / (1 - rate)``.
    Outside training ``y = x``. The mask depends only on the seed, the layer's place in the network
    and the training step, and is the same on every backend.

    Args:
        rate: the fraction dropped, at least 0 and below 1. It is rounded to a multiple of 2**-24.

    Raises:
        ValueError: ``rate`` is out of range.

    Source: Srivastava et al. (2014), JMLR 15; the "inverted" form.
    """

    rate: float

    def __post_init__(self) -> None:
        set_number(self, "rate", 0.0, 1.0)

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Apply a new mask in training; return ``x`` itself otherwise."""
        if not ctx.training or self.rate == 0.0:
            return x, lambda dy: dy
        mask = random.bernoulli_mask(ctx.key, ctx.step, x, self.rate, ctx.backend, ctx.first_row)
        mask *= 1.0 / (1.0 - self.rate)
        ctx.note("mask", mask)
        return x * mask, lambda dy: dy * mask
