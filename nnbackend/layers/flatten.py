"""From any shape to rows of features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nnbackend.core.types import Array, Context, Shape
from nnbackend.layers.base import Parameterless, register_layer

__all__ = ["Flatten"]


@register_layer
@dataclass(frozen=True)
class Flatten(Parameterless):
    """Make one axis of all axes but the batch: ``(batch, 28, 28) -> (batch, 784)``."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the number of features."""
        return (math.prod(input_shape),)

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Return ``x`` as rows; the backward pass gives ``dy`` the old shape."""
        xp, shape = ctx.xp, x.shape
        y = xp.reshape(x, (shape[0], math.prod(shape[1:])))
        return y, lambda dy: xp.reshape(dy, shape)
