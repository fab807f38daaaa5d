"""Weight normalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.layers.base import register_layer
from nnbackend.layers.normalization.wrapped import WrappedWeight, as_matrix, dot, norm

__all__ = ["WeightNorm"]

_SMALLEST_NORM = 1e-12


@register_layer
@dataclass(frozen=True)
class WeightNorm(WrappedWeight):
    """A layer whose weight has a direction and a length: ``w = gain * v / norm(v)`` for each output.

    The norm is over all axes of the weight but the last, that of outputs. ``v`` is the parameter
    ``layer.weight``; the ``gain`` is initially ``norm(v)``, so that the layer computes what it would
    alone. With the inner layer's gradient ``dw`` and ``n = v / norm(v)``::

        dgain = sum(dw * n)
        dv    = gain / norm(v) * (dw - n * dgain)

    Args:
        layer: a layer with a parameter ``weight`` whose last axis is that of outputs, as of Dense and
            convolutions.

    Raises:
        ValueError: the layer has no such weight, or a regularizer or constraint, which would see ``v``.

    Source: Salimans, Kingma (2016), arXiv:1602.07868.
    """

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the parameters of the layer, as ``layer``, the ``gain``, and the output's shape."""
        params, shape = super().init(input_shape, rng)
        weight = params["layer"]["weight"]
        gain = (weight.reshape(-1, weight.shape[-1]) ** 2).sum(axis=0) ** 0.5
        return {**params, "gain": gain}, shape

    def forward(self, params: Params, x: Any, ctx: Context) -> tuple[Any, Backward]:
        """Return the output of the layer with its normalized weight."""
        xp, wide, shape = ctx.xp, ctx.backend.dtype, params["layer"]["weight"].shape
        v = as_matrix(xp.astype(params["layer"]["weight"], wide, copy=False), xp)
        gain = xp.astype(params["gain"], wide, copy=False)
        length = norm(v, _SMALLEST_NORM, xp, axis=0)
        direction = v / length
        y, inner_backward = self.pass_on(params, xp.reshape(direction * gain, shape), x, ctx)

        def backward(dy: Any, input_grad: bool = True) -> tuple[Any, Params]:
            dx, grads = inner_backward(dy, input_grad=input_grad)
            dtype = grads["weight"].dtype
            dw = as_matrix(xp.astype(grads["weight"], wide, copy=False), xp)
            dgain = dot(dw, direction, xp, axis=0)
            dv: Array = xp.reshape((dw - direction * dgain) * (gain / length), shape)
            inner = {**grads, "weight": xp.astype(dv, dtype, copy=False)}
            return dx, {"layer": inner, "gain": xp.astype(dgain, dtype, copy=False)}

        return y, backward
