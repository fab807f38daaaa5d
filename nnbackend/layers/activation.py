"""An activation function as a layer."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend import activations
from nnbackend.activations import ActivationFunction
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.layers.base import register_layer

__all__ = ["Activation"]


@register_layer
@dataclass(frozen=True)
class Activation:
    """An activation function as a layer: ``y = f(x)``, ``dx = dy * f'(x)``.

    Args:
        function: a name (``"relu"``) or an object (``LeakyReLU(0.2)``) of
            :mod:`nnbackend.activations`.
    """

    function: str | ActivationFunction

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", activations.get(self.function))

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return no parameters and the same shape."""
        return {}, input_shape

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Apply the function."""
        y, function_backward = self.function(x, ctx)  # type: ignore[operator]

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            return (function_backward(dy) if input_grad else None), {}

        return y, backward
