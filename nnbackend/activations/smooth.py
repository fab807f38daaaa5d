"""Smooth activations."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbackend.activations.base import ACTIVATIONS, ActivationFunction, Pullback, widened
from nnbackend.core import functional
from nnbackend.core.checks import check_choice
from nnbackend.core.types import Array, Context

__all__ = ["GELU", "Exponential", "LogSigmoid", "Mish", "SiLU", "Softplus", "Tanhshrink"]


@ACTIVATIONS.register("gelu")
@dataclass(frozen=True)
class GELU(ActivationFunction):
    """``y = x * Phi(x)`` with the normal distribution function Phi; ``dx = dy * (Phi + x * phi)``.

    Args:
        approximate: ``"none"`` for the exact form, ``"tanh"`` for the approximation
            ``x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x**3)))``.

    Source: Hendrycks, Gimpel (2016), arXiv:1606.08415.
    """

    approximate: str = "none"

    def __post_init__(self) -> None:
        check_choice("approximate", self.approximate, ("none", "tanh"))

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        if functional.is_half(x.dtype):  # the cube overflows, and libraries lack erf
            return widened(self, x, ctx)
        return self._tanh_form(x, ctx) if self.approximate == "tanh" else self._exact(x, ctx)

    def _exact(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        xp = ctx.xp
        distribution = 0.5 * ctx.backend.erf(x * math.sqrt(0.5))
        distribution += 0.5

        def backward(dy: Array) -> Array:
            dx = xp.exp(-0.5 * x * x)
            dx *= x
            dx *= 1.0 / math.sqrt(2.0 * math.pi)
            dx += distribution
            dx *= dy
            return dx

        return x * distribution, backward

    def _tanh_form(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        root, cubic = math.sqrt(2.0 / math.pi), 0.044715
        square = x * x
        t = ctx.xp.tanh(root * x * (1.0 + cubic * square))

        def backward(dy: Array) -> Array:
            inner = root + (3.0 * root * cubic) * square
            return dy * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner)

        return 0.5 * x * (1.0 + t), backward


@ACTIVATIONS.register("silu")
@dataclass(frozen=True)
class SiLU(ActivationFunction):
    """``y = x * s`` with ``s = sigmoid(x)``; ``dx = dy * (s + y * (1 - s))``. Also called swish.

    Source: Elfwing, Uchibe, Doya (2018), arXiv:1702.03118.
    """

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        s = functional.sigmoid(x, ctx.xp)
        y = x * s

        def backward(dy: Array) -> Array:
            dx = 1.0 - s
            dx *= y
            dx += s
            dx *= dy
            return dx

        return y, backward


@ACTIVATIONS.register("softplus")
@dataclass(frozen=True)
class Softplus(ActivationFunction):
    """``y = log(1 + exp(x))``; ``dx = dy * sigmoid(x)``."""

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        xp = ctx.xp
        return functional.softplus(x, xp), lambda dy: dy * functional.sigmoid(x, xp)


@ACTIVATIONS.register("logsigmoid")
@dataclass(frozen=True)
class LogSigmoid(ActivationFunction):
    """``y = log(sigmoid(x))``, computed as ``-softplus(-x)``; ``dx = dy * sigmoid(-x)``.

    At the end of a network it gives the logarithm of a probability, which is no logit: cross-entropies
    refuse it.
    """

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        xp = ctx.xp
        return -functional.softplus(-x, xp), lambda dy: dy * functional.sigmoid(-x, xp)


@ACTIVATIONS.register("tanhshrink")
@dataclass(frozen=True)
class Tanhshrink(ActivationFunction):
    """``y = x - tanh(x)``; ``dx = dy * tanh(x)**2``."""

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        t = ctx.xp.tanh(x)
        return x - t, lambda dy: dy * t * t


@ACTIVATIONS.register("exponential")
@dataclass(frozen=True)
class Exponential(ActivationFunction):
    """``y = exp(x)``, for an output that is a rate; ``dx = dy * y``.

    It is kept from overflowing: beyond x = 87 in float32 and 708 in float64 it rises no further, and
    beyond 11 in float16.
    """

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        y = functional.exp(x, ctx.xp)
        return y, lambda dy: dy * y


@ACTIVATIONS.register("mish")
@dataclass(frozen=True)
class Mish(ActivationFunction):
    """``y = x * t`` with ``t = tanh(softplus(x))``; ``dx = dy * (t + x * (1 - t**2) * sigmoid(x))``.

    Source: Misra (2019), arXiv:1908.08681.
    """

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        xp = ctx.xp
        t = xp.tanh(functional.softplus(x, xp))

        def backward(dy: Array) -> Array:
            dx = 1.0 - t * t
            dx *= x
            dx *= functional.sigmoid(x, xp)
            dx += t
            dx *= dy
            return dx

        return x * t, backward
