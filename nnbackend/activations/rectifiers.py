"""Activations that let positive numbers through: ReLU and its relatives."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.activations.base import ACTIVATIONS, ActivationFunction, Pullback, positive
from nnbackend.core.checks import set_number, set_positive
from nnbackend.core.types import Array, Context

__all__ = ["CELU", "ELU", "SELU", "HardSwish", "LeakyReLU", "ReLU", "ReLU6"]


@ACTIVATIONS.register("relu")
@dataclass(frozen=True)
class ReLU(ActivationFunction):
    """``y = max(x, 0)``; ``dx = dy`` where ``x > 0``, else 0."""

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        xp = ctx.xp
        y = xp.maximum(x, 0.0)

        def backward(dy: Array) -> Array:
            dx = positive(y, xp)
            dx *= dy
            return dx

        return y, backward


@ACTIVATIONS.register("relu6")
@dataclass(frozen=True)
class ReLU6(ActivationFunction):
    """``y = min(max(x, 0), 6)``; ``dx = dy`` where ``0 < x < 6``, else 0.

    Source: Krizhevsky (2010), Convolutional Deep Belief Networks on CIFAR-10.
    """

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        xp = ctx.xp
        y = xp.minimum(xp.maximum(x, 0.0), 6.0)

        def backward(dy: Array) -> Array:
            dx = xp.astype((x > 0.0) & (x < 6.0), x.dtype)
            dx *= dy
            return dx

        return y, backward


@ACTIVATIONS.register("hardswish")
@dataclass(frozen=True)
class HardSwish(ActivationFunction):
    """``y = x * min(max(x + 3, 0), 6) / 6``: SiLU made of straight pieces.

    ``dx = dy * (x / 3 + 1/2)`` where ``-3 < x < 3``, ``dy`` where ``x >= 3``, and 0 where ``x <= -3``.

    Source: Howard et al. (2019), arXiv:1905.02244.
    """

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        xp = ctx.xp
        gate = xp.minimum(xp.maximum(x + 3.0, 0.0), 6.0)
        gate /= 6.0

        def backward(dy: Array) -> Array:
            dx = x / 3.0
            dx += 0.5
            dx *= xp.astype((x > -3.0) & (x < 3.0), x.dtype)
            dx += xp.astype(x >= 3.0, x.dtype)
            dx *= dy
            return dx

        return x * gate, backward


@ACTIVATIONS.register("leaky_relu")
@dataclass(frozen=True)
class LeakyReLU(ActivationFunction):
    """``y = x`` where ``x > 0``, else ``slope * x``; ``dx = dy`` or ``slope * dy``.

    Args:
        slope: the slope for negative inputs; default 0.01.

    Source: Maas, Hannun, Ng (2013), ICML workshop on deep learning.
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        set_number(self, "slope")

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        xp = ctx.xp
        y = self.slope * xp.minimum(x, 0.0)
        y += xp.maximum(x, 0.0)

        def backward(dy: Array) -> Array:
            above = positive(x, xp)
            dx = self.slope * (1.0 - above)
            dx += above
            dx *= dy
            return dx

        return y, backward


@ACTIVATIONS.register("elu")
@dataclass(frozen=True)
class ELU(ActivationFunction):
    """``y = x`` where ``x > 0``, else ``alpha * (exp(x) - 1)``; ``dx = dy`` or ``dy * (y + alpha)``.

    Args:
        alpha: minus the value far below zero, at least 0; default 1.

    Source: Clevert, Unterthiner, Hochreiter (2016), arXiv:1511.07289.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        set_number(self, "alpha", 0.0)

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        return _scaled_elu(x, self.alpha, 1.0, ctx)


@ACTIVATIONS.register("celu")
@dataclass(frozen=True)
class CELU(ActivationFunction):
    """``y = x`` where ``x > 0``, else ``alpha * (exp(x / alpha) - 1)``.

    ``dx = dy`` where ``x > 0``, else ``dy * exp(x / alpha)``. Unlike ELU it has no kink, whatever the
    ``alpha``.

    Args:
        alpha: minus the value far below zero, above 0; default 1.

    Raises:
        ValueError: ``alpha`` is not above 0.

    Source: Barron (2017), arXiv:1704.07483.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        set_positive(self, "alpha")

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        xp = ctx.xp
        e = xp.expm1(xp.minimum(x, 0.0) / self.alpha)
        y = self.alpha * e
        y += xp.maximum(x, 0.0)
        return y, lambda dy: dy * (1.0 + e)  # e is 0 where x > 0


@ACTIVATIONS.register("selu")
@dataclass(frozen=True)
class SELU(ActivationFunction):
    """ELU with the ``alpha`` and the scale that keep mean 0 and variance 1 from layer to layer.

    It does so with weights of ``initializer="lecun_normal"``.
    Source: Klambauer et al. (2017), arXiv:1706.02515.
    """

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        return _scaled_elu(x, 1.6732632423543772, 1.0507009873554805, ctx)


def _scaled_elu(x: Array, alpha: float, scale: float, ctx: Context) -> tuple[Array, Pullback]:
    xp = ctx.xp
    negative_part = xp.expm1(xp.minimum(x, 0.0))
    negative_part *= alpha * scale
    y = scale * xp.maximum(x, 0.0)
    y += negative_part

    def backward(dy: Array) -> Array:
        # alpha * scale * exp(x) is negative_part + alpha * scale; where x > 0 it makes up for scale.
        dx = (scale - alpha * scale) * positive(x, xp)
        dx += negative_part
        dx += alpha * scale
        dx *= dy
        return dx

    return y, backward
