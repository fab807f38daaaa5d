"""A skip connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Layer, Params, Shape, State
from nnbackend.layers.base import register_layer
from nnbackend.layers.sequential import Sequential

__all__ = ["Residual"]


@register_layer
@dataclass(frozen=True)
class Residual:
    """Layers with a connection around them: ``y = x + f(x)``; ``dx = dy + df(dy)``.

    Args:
        layers: ``f``, one layer after the other; its output has the shape of its input.

    Raises:
        ValueError: when the network is built, if the two shapes differ.

    Source: He et al. (2016), arXiv:1512.03385.
    """

    layers: Sequence[Layer]

    state_is_of_layers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", Sequential(self.layers).layers)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the parameters of the layers, and the input's shape."""
        params, shape = Sequential(self.layers).init(input_shape, rng)
        if shape != input_shape:
            raise ValueError(
                f"a residual needs equal input and output, but its layers map "
                f"{input_shape} to {shape}"
            )
        return params, shape

    def init_state(self, input_shape: Shape) -> State:
        """Return the state of the layers that have one, by their names."""
        return Sequential(self.layers).init_state(input_shape)

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``x + f(x)``."""
        y, inner_backward = Sequential(self.layers).forward(params, x, ctx)

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            dx, grads = inner_backward(dy, input_grad=input_grad)
            return (dy + dx if input_grad else None), grads

        return x + y, backward
