"""The known activations by name, and what several of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

from nnbackend.core.registry import Registry
from nnbackend.core.types import Array, Context, Namespace
from nnbackend.errors import UnknownNameError, given

__all__ = [
    "ACTIVATIONS",
    "ActivationFunction",
    "Identity",
    "Pullback",
    "get",
    "layer_instead",
    "name_of",
    "positive",
    "widened",
]

Pullback: TypeAlias = Callable[[Array], Array]

ACTIVATIONS = Registry("activation")

_LAYERS = {  # what others call an activation and is a layer here: it has parameters, or another width
    "prelu": "PReLU()",
    "glu": "GLU()",
    "swiglu": "SwiGLU()",
    "geglu": "GEGLU()",
    "reglu": "ReGLU()",
    "maxout": "Maxout(out_features, pieces)",
}


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
        UnknownNameError: no activation has that name; it may be that of a layer.
        TypeError: ``spec`` is neither a name nor an activation.
    """
    layer = layer_instead(spec)
    if layer is not None:
        raise UnknownNameError(
            f"no activation is called {spec!r}: it has parameters or changes the number of outputs, so "
            f"it is a layer, to be put behind the one without an activation: nnbackend.{layer}"
        )
    if hasattr(spec, "init") and hasattr(spec, "forward") and not isinstance(spec, type):
        raise TypeError(
            f"{given(spec)} is a layer and no activation: put it behind the layer without an activation"
        )
    activation: ActivationFunction = ACTIVATIONS.get("identity" if spec is None else spec)
    if not hasattr(activation, "initializer"):
        raise TypeError(
            "an activation has an initializer, and called with (x, ctx) returns (y, backward); "
            f"{spec!r} is a plain function. Those with a name: {', '.join(ACTIVATIONS)}"
        )
    return activation


def layer_instead(name: Any) -> str | None:
    """Return how the layer is made that others have as an activation of that name, or None."""
    if not isinstance(name, str) or name in ACTIVATIONS:
        return None
    return _LAYERS.get("".join(c for c in name.casefold() if c.isalnum()))


def name_of(function: ActivationFunction) -> str | None:
    """Return the name of a registered activation, also of a subclass that computes the same, or None."""
    own = type(function)
    for kind in own.__mro__:
        name = ACTIVATIONS.names.get(kind)
        if name is not None:
            return name if own.__call__ is kind.__call__ else None
    return None


def positive(x: Array, xp: Namespace) -> Array:
    """Return 1 where ``x > 0``, else 0.

    Multiplying by it takes a tenth of the time of ``where`` on NumPy, whose loop branches at random.
    """
    return xp.astype(x > 0.0, x.dtype)


def widened(activation: ActivationFunction, x: Array, ctx: Context) -> tuple[Array, Pullback]:
    """Return an activation of numbers with 16 bits, computed in the backend's dtype and rounded."""
    xp, half, wide = ctx.xp, x.dtype, ctx.backend.dtype
    y, backward = activation(xp.astype(x, wide), ctx)
    return xp.astype(y, half), lambda dy: xp.astype(backward(xp.astype(dy, wide)), half)


@ACTIVATIONS.register("identity")
@dataclass(frozen=True)
class Identity(ActivationFunction):
    """``y = x``; ``dx = dy``."""

    initializer = "glorot_uniform"

    def __call__(self, x: Array, ctx: Context) -> tuple[Array, Pullback]:
        return x, lambda dy: dy
