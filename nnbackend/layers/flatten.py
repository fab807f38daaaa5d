"""From any shape to rows of features."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.layers.base import register_layer

__all__ = ["Flatten"]


@register_layer
@dataclass(frozen=True)
class Flatten:
    """Make one axis of all axes but the batch: ``(batch, 28, 28) -> (batch, 784)``."""

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return no parameters and the number of features."""
        return {}, (math.prod(input_shape),)

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``x`` as rows; the backward pass gives ``dy`` the old shape."""
        xp, shape = ctx.xp, x.shape

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            return xp.reshape(dy, shape), {}

        return xp.reshape(x, (shape[0], math.prod(shape[1:]))), backward
