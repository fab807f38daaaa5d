"""Activations over the classes of a row, along the last axis."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.activations.base import ACTIVATIONS, ActivationFunction, Pullback, positive, widened
from nnbackend.core import functional
from nnbackend.core.types import Array, Context

__all__ = ["LogSoftmax", "Softmax", "Sparsemax"]


@ACTIVATIONS.register("softmax")
@dataclass(frozen=True)
class Softmax(ActivationFunction):
    """``y = exp(x) / sum(exp(x))`` along the last axis; ``dx = y * (dy - sum(dy * y))``."""

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        if functional.is_half(x.dtype):  # the sum is one of many terms
            return widened(self, x, ctx)
        xp = ctx.xp
        y = functional.softmax(x, xp)
        return y, lambda dy: y * (dy - xp.sum(dy * y, axis=-1, keepdims=True))


@ACTIVATIONS.register("log_softmax")
@dataclass(frozen=True)
class LogSoftmax(ActivationFunction):
    """``y = log(softmax(x))`` along the last axis; ``dx = dy - exp(y) * sum(dy)``.

    At the end of a network it gives the logarithms of probabilities. These are logits too, since
    ``softmax(y) = softmax(x)``: losses that contain a softmax are right with it, and no better than
    without.
    """

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        if functional.is_half(x.dtype):  # the sum is one of many terms
            return widened(self, x, ctx)
        xp = ctx.xp
        y = functional.log_softmax(x, xp)
        return y, lambda dy: dy - xp.exp(y) * xp.sum(dy, axis=-1, keepdims=True)


@ACTIVATIONS.register("sparsemax")
@dataclass(frozen=True)
class Sparsemax(ActivationFunction):
    """The distribution that is nearest to ``x`` along the last axis; many of its numbers are exactly 0.

    ``y = max(x - t, 0)`` with the threshold ``t`` for which ``sum(y) = 1``. With the support ``s``, 1
    where ``y > 0`` and else 0: ``dx = s * (dy - sum(s * dy) / sum(s))``. Equal numbers have equal
    results. ``t`` is found by sorting: of the numbers from the largest down, the support holds the first
    ``k``, for the largest ``k`` with ``1 + k x_k > x_1 + ... + x_k``; then
    ``t = (x_1 + ... + x_k - 1) / k``.

    A probability of 0 has no logarithm, so cross-entropies refuse it at the end of a network.

    Source: Martins, Astudillo (2016), arXiv:1602.02068.
    """

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        if functional.is_half(x.dtype):  # sums of many terms
            return widened(self, x, ctx)
        xp = ctx.xp
        # A number that is lower than the largest by 1 is never in the support, however much lower.
        z = xp.maximum(x - xp.max(x, axis=-1, keepdims=True), -1.0)
        falling = -xp.sort(-z, axis=-1)
        k = xp.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=ctx.backend.device)
        first = positive(1.0 + k * falling - xp.cumulative_sum(falling, axis=-1), xp)
        total = xp.sum(first * falling, axis=-1, keepdims=True) - 1.0
        y = xp.maximum(z - total / xp.sum(first, axis=-1, keepdims=True), 0.0)

        def backward(dy: Array) -> Array:
            support = positive(y, xp)
            kept = support * dy
            mean = xp.sum(kept, axis=-1, keepdims=True)
            mean /= xp.sum(support, axis=-1, keepdims=True)
            return kept - support * mean

        return y, backward
