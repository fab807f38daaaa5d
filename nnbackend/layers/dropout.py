"""Dropout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnbackend.core import random
from nnbackend.core.checks import check_number, set_number
from nnbackend.core.types import Array, Context
from nnbackend.errors import given
from nnbackend.layers.base import Parameterless, register_layer
from nnbackend.schedules import Schedule

__all__ = ["Dropout"]


@register_layer
@dataclass(frozen=True)
class Dropout(Parameterless):
    """Drop each number with probability ``rate`` in training and scale up the others.

    ``y = x * m / (1 - rate)`` with a random mask ``m`` of zeros and ones; ``dx = dy * m / (1 - rate)``.
    Outside training ``y = x``. The mask depends only on the seed, the layer's place in the network
    and the training step, and is the same on every backend.

    Args:
        rate: the fraction dropped, at least 0 and below 1. It is rounded to a multiple of 2**-24. Or a
            schedule of :mod:`nnbackend.schedules` that comes to an end, of the step since the network
            was new, such as ``FlatCosine(0.15, steps=5000)``. It changes at most 1023 times: of more
            steps several in a row have the same rate.

    Raises:
        ValueError: ``rate`` is out of range, or a schedule without an end.

    Source: Srivastava et al. (2014), JMLR 15; the "inverted" form.
    """

    rate: float | Schedule

    def __post_init__(self) -> None:
        if not isinstance(self.rate, Schedule):
            set_number(self, "rate", 0.0, 1.0)
            return
        last = self.rate.last_step
        if last is None:
            raise ValueError(
                "rate must be a number, or a schedule that comes to an end, such as "
                f"FlatCosine(0.15, steps=5000); got {given(self.rate)}"
            )
        for rate in random.rates(self.rate, last):
            check_number("rate", rate, 0.0, 1.0)

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Apply a new mask in training; return ``x`` itself otherwise."""
        if not ctx.training or self.rate == 0.0:
            return x, lambda dy: dy
        where = ctx.backend, ctx.first_row
        if isinstance(self.rate, Schedule):
            last = self.rate.last_step or 0
            mask, scale = random.scheduled_mask(ctx.key, ctx.step, x, self.rate, last, *where)
            mask *= scale
        else:
            mask = random.bernoulli_mask(ctx.key, ctx.step, x, self.rate, *where)
            mask *= 1.0 / (1.0 - self.rate)
        ctx.note("mask", mask)
        return x * mask, lambda dy: dy * mask
