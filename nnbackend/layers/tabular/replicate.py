"""The same row for each of several members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnbackend.core import functional
from nnbackend.core.checks import set_size
from nnbackend.core.types import Array, Context, Shape
from nnbackend.layers.base import Parameterless, register_layer

__all__ = ["Replicate"]


@register_layer
@dataclass(frozen=True)
class Replicate(Parameterless):
    """Give each of several members the same row: ``y[n, k] = x[n]``.

    (...) -> (members, ...), in front of layers that compute several networks together; ``dx`` is the sum
    of ``dy`` over the members.

    Args:
        members: the number of members.

    Raises:
        ValueError: ``members`` is below 1.
    """

    members: int

    def __post_init__(self) -> None:
        set_size(self, "members")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (members, ...)."""
        return (self.members, *input_shape)

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Return the rows once for each member, in the memory of ``x`` where a library can."""
        xp, dtype = ctx.xp, ctx.backend.dtype
        shape = (x.shape[0], self.members, *x.shape[1:])
        y = xp.broadcast_to(xp.expand_dims(x, axis=1), shape)

        def backward(dy: Array) -> Array:
            return xp.astype(functional.total(dy, xp, 1, dtype), dy.dtype, copy=False)

        return y, backward
