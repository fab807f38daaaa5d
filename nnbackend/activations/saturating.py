"""Activations with a lower and an upper bound."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.activations.base import ACTIVATIONS, ActivationFunction, Pullback
from nnbackend.core import functional
from nnbackend.core.checks import set_number
from nnbackend.core.types import Array, Context

__all__ = ["HardSigmoid", "HardTanh", "Sigmoid", "Softsign", "Tanh"]


@ACTIVATIONS.register("sigmoid")
@dataclass(frozen=True)
class Sigmoid(ActivationFunction):
    """``y = 1 / (1 + exp(-x))``; ``dx = dy * y * (1 - y)``."""

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        y = functional.sigmoid(x, ctx.xp)

        def backward(dy: Array) -> Array:
            dx = 1.0 - y
            dx *= y
            dx *= dy
            return dx

        return y, backward


@ACTIVATIONS.register("tanh")
@dataclass(frozen=True)
class Tanh(ActivationFunction):
    """``y = tanh(x)``; ``dx = dy * (1 - y**2)``."""

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        y = ctx.xp.tanh(x)

        def backward(dy: Array) -> Array:
            dx = y * y
            dx -= 1.0
            dx *= -dy
            return dx

        return y, backward


@ACTIVATIONS.register("hardsigmoid")
@dataclass(frozen=True)
class HardSigmoid(ActivationFunction):
    """``y = min(max(x + 3, 0), 6) / 6``: a sigmoid of straight pieces.

    ``dx = dy / 6`` where ``-3 < x < 3``, else 0. Keras computes the same since version 3.
    """

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        xp = ctx.xp
        y = xp.minimum(xp.maximum(x + 3.0, 0.0), 6.0)
        y /= 6.0

        def backward(dy: Array) -> Array:
            dx = xp.astype((x > -3.0) & (x < 3.0), x.dtype)
            dx *= dy
            dx /= 6.0
            return dx

        return y, backward


@ACTIVATIONS.register("hardtanh")
@dataclass(frozen=True)
class HardTanh(ActivationFunction):
    """``y = min(max(x, low), high)``; ``dx = dy`` where ``low < x < high``, else 0.

    Args:
        low: the lowest value; default -1.
        high: the highest value, above ``low``; default 1.

    Raises:
        ValueError: ``low`` is not below ``high``.
    """

    initializer = "glorot_uniform"
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        set_number(self, "low")
        set_number(self, "high")
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got low={self.low:g} and high={self.high:g}")

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        xp = ctx.xp
        y = xp.minimum(xp.maximum(x, self.low), self.high)

        def backward(dy: Array) -> Array:
            dx = xp.astype((x > self.low) & (x < self.high), x.dtype)
            dx *= dy
            return dx

        return y, backward


@ACTIVATIONS.register("softsign")
@dataclass(frozen=True)
class Softsign(ActivationFunction):
    """``y = x / (1 + |x|)``; ``dx = dy / (1 + |x|)**2``."""

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        d = ctx.xp.abs(x)
        d += 1.0
        return x / d, lambda dy: dy / d / d  # the square of d may overflow
