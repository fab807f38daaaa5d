"""Gaussian noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnbackend.core import random
from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Context
from nnbackend.layers.base import Parameterless, register_layer

__all__ = ["GaussianNoise"]


@register_layer
@dataclass(frozen=True)
class GaussianNoise(Parameterless):
    """Add normal noise of mean 0 in training.

    ``y = x + std * n`` with a new standard normal number ``n`` for each number of ``x``; ``dx = dy``.
    Outside training ``y = x``. The noise depends only on the seed, the layer's place in the network and
    the training step; between backends it differs by rounding, 1e-15 in float64 and 1e-6 in float32.

    Args:
        std: the standard deviation of the noise, 0 or more.

    Raises:
        ValueError: ``std`` is negative or not finite.

    Source: Bishop (1995), Neural Computation 7: Training with Noise is Equivalent to Tikhonov
    Regularization.
    """

    std: float

    def __post_init__(self) -> None:
        set_number(self, "std", 0.0)

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Add new noise in training; return ``x`` itself otherwise."""
        if ctx.training and self.std > 0.0:
            noise = random.normal(ctx.key, ctx.step, x, ctx.backend, ctx.first_row)
            noise *= self.std
            x = x + ctx.note("noise", noise)
        return x, lambda dy: dy
