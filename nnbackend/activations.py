"""Activation functions, each with its derivative beside it.

An activation is called with an array and returns the value and the backward pass:
``y, backward = activation(x, ctx)`` and ``dx = backward(dy)``. The formulas say how ``dx`` follows
from ``dy`` by the chain rule. ``x`` and ``dy`` are never changed: only new arrays are changed in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

from nnbackend.core import functional
from nnbackend.core.checks import check_choice, set_number
from nnbackend.core.registry import Registry
from nnbackend.core.types import Array, Context, Namespace

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "SELU",
    "ActivationFunction",
    "Exponential",
    "Identity",
    "LeakyReLU",
    "Mish",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "get",
    "name_of",
]

Pullback: TypeAlias = Callable[[Array], Array]

ACTIVATIONS = Registry("activation")


class ActivationFunction(Protocol):
    """A function of an array with its derivative.

    Attributes:
        initializer: the initializer that suits the layer before it.
    """

    initializer: ClassVar[str] = "he_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        """Return ``f(x)`` and the function that maps ``dy`` to ``dx``."""


def get(spec: str | ActivationFunction | None) -> ActivationFunction:
    """Return the activation that ``spec`` names; None is the identity.

    Raises:
        UnknownNameError: no activation has that name.
        TypeError: ``spec`` is neither a name nor an activation.
    """
    activation: ActivationFunction = ACTIVATIONS.get("identity" if spec is None else spec)
    if not hasattr(activation, "initializer"):
        raise TypeError(
            "an activation has an initializer, and called with (x, ctx) returns (y, backward); "
            f"{spec!r} is a plain function. Those with a name: {', '.join(ACTIVATIONS)}"
        )
    return activation


def name_of(function: ActivationFunction) -> str | None:
    """Return the name of a registered activation, also of a subclass that computes the same, or None."""
    own = type(function)
    for kind in own.__mro__:
        name = ACTIVATIONS.names.get(kind)
        if name is not None:
            return name if own.__call__ is kind.__call__ else None
    return None


@ACTIVATIONS.register("identity")
@dataclass(frozen=True)
class Identity(ActivationFunction):
    """``y = x``; ``dx = dy``."""

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        return x, lambda dy: dy


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


@ACTIVATIONS.register("relu")
@dataclass(frozen=True)
class ReLU(ActivationFunction):
    """``y = max(x, 0)``; ``dx = dy`` where ``x > 0``, else 0."""

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        xp = ctx.xp
        y = xp.maximum(x, 0.0)

        def backward(dy: Array) -> Array:
            dx = _mask(y, xp)
            dx *= dy
            return dx

        return y, backward


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
            positive = _mask(x, xp)
            dx = self.slope * (1.0 - positive)
            dx += positive
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
        dx = (scale - alpha * scale) * _mask(x, xp)
        dx += negative_part
        dx += alpha * scale
        dx *= dy
        return dx

    return y, backward


def _mask(x: Array, xp: Namespace) -> Array:
    """Return 1 where ``x > 0``, else 0.

    Multiplying by it takes a tenth of the time of ``where`` on NumPy, whose loop branches at random.
    """
    return xp.astype(x > 0.0, x.dtype)


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
            return _widened(self, x, ctx)
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


@ACTIVATIONS.register("softmax")
@dataclass(frozen=True)
class Softmax(ActivationFunction):
    """``y = exp(x) / sum(exp(x))`` along the last axis; ``dx = y * (dy - sum(dy * y))``."""

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        if functional.is_half(x.dtype):  # the sum is one of many terms
            return _widened(self, x, ctx)
        xp = ctx.xp
        y = functional.softmax(x, xp)
        return y, lambda dy: y * (dy - xp.sum(dy * y, axis=-1, keepdims=True))


def _widened(activation: ActivationFunction, x: Array, ctx: Context) -> tuple[Array, Pullback]:
    """Return an activation of numbers with 16 bits, computed in the backend's dtype and rounded."""
    xp, half, wide = ctx.xp, x.dtype, ctx.backend.dtype
    y, backward = activation(xp.astype(x, wide), ctx)
    return xp.astype(y, half), lambda dy: xp.astype(backward(xp.astype(dy, wide)), half)
