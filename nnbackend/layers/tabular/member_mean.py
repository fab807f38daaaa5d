"""The mean of the outputs of several members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnbackend.core import functional
from nnbackend.core.types import Array, Context, Shape
from nnbackend.layers.base import Parameterless, register_layer

__all__ = ["MemberMean"]


@register_layer
@dataclass(frozen=True)
class MemberMean(Parameterless):
    """The mean over members: ``y[n] = mean over k of x[n, k]``.

    (members, ...) -> (...), and ``dx = dy / members`` for each. Behind a softmax it makes the prediction
    of an ensemble, the mean of the members' probabilities. Members are trained without it, each on
    its own loss, by :class:`nnbackend.losses.EachMember`.

    Raises:
        ValueError: when the network is built, rows have no axis of members.
    """

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape without the axis of members."""
        if not input_shape:
            raise ValueError(
                "MemberMean takes rows of shape (members, ...), got a scalar for each row"
            )
        return tuple(input_shape[1:])

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Return the mean over members."""
        xp, shape = ctx.xp, x.shape
        share = 1.0 / shape[1]
        y = functional.total(x, xp, 1, ctx.backend.dtype) * share

        def backward(dy: Array) -> Array:
            return xp.broadcast_to(xp.expand_dims(dy * share, axis=1), shape)

        return xp.astype(y, x.dtype, copy=False), backward
