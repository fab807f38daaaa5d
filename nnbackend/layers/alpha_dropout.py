"""Dropout for networks of SELU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnbackend.core import random
from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Context
from nnbackend.layers.base import Parameterless, register_layer

__all__ = ["AlphaDropout"]

_SELU_MINIMUM = -1.7580993408473766  # SELU's limit far below zero: -scale * alpha


@register_layer
@dataclass(frozen=True)
class AlphaDropout(Parameterless):
    """Dropout that keeps mean 0 and variance 1, for networks of SELU.

    With probability ``rate`` a number is set not to 0 but to ``f = -1.758``, SELU's lowest value, and
    then all are brought back to mean 0 and variance 1: ``y = a * (x * m + f * (1 - m)) + b`` with a
    random mask ``m`` of zeros and ones, ``q = 1 - rate``, ``a = (q + f**2 * q * (1 - q))**-0.5`` and
    ``b = -a * (1 - q) * f``; ``dx = a * m * dy``. Outside training ``y = x``. The mask depends only on
    the seed, the layer's place in the network and the training step, and is the same on every backend.

    Args:
        rate: the fraction replaced, at least 0 and below 1. It is rounded to a multiple of 2**-24.

    Raises:
        ValueError: ``rate`` is out of range.

    Source: Klambauer, Unterthiner, Mayr, Hochreiter (2017), NeurIPS: Self-Normalizing Neural Networks.
    """

    rate: float

    def __post_init__(self) -> None:
        set_number(self, "rate", 0.0, 1.0)

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Apply a new mask in training; return ``x`` itself otherwise."""
        if not ctx.training or self.rate == 0.0:
            return x, lambda dy: dy
        mask = random.bernoulli_mask(ctx.key, ctx.step, x, self.rate, ctx.backend, ctx.first_row)
        q = 1.0 - self.rate
        a = (q + _SELU_MINIMUM**2 * q * (1.0 - q)) ** -0.5
        b = -a * (1.0 - q) * _SELU_MINIMUM
        mask *= a
        ctx.note("mask", mask)
        y = x * mask
        y += _SELU_MINIMUM * (a - mask) + b
        return y, lambda dy: dy * mask
