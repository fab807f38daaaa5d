"""An activation function as a layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnbackend import activations
from nnbackend.activations import ActivationFunction
from nnbackend.core.checks import convert_fields
from nnbackend.core.types import Array, Context
from nnbackend.layers.base import Parameterless, register_layer

__all__ = ["Activation"]


@register_layer
@dataclass(frozen=True)
class Activation(Parameterless):
    """An activation function as a layer: ``y = f(x)``, ``dx = dy * f'(x)``.

    Args:
        function: a name (``"relu"``) or an object (``LeakyReLU(0.2)``) of
            :mod:`nnbackend.activations`.
    """

    function: str | ActivationFunction

    def __post_init__(self) -> None:
        convert_fields(self, function=activations.get)

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Apply the function."""
        return self.function(x, ctx)  # type: ignore[operator]
