"""Spectral normalization."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnbackend import initializers
from nnbackend.core.checks import set_positive, set_size
from nnbackend.core.random import Generator, ShapeGenerator
from nnbackend.core.types import Array, Backward, Context, Params, Shape, State
from nnbackend.layers.base import register_layer
from nnbackend.layers.normalization.wrapped import WrappedWeight, as_matrix, dot, norm

__all__ = ["SpectralNorm"]

_ITERATIONS_BEFORE_TRAINING = 15


@register_layer
@dataclass(frozen=True)
class SpectralNorm(WrappedWeight):
    """A layer whose weight is divided by its largest singular value: ``w / s``, ``s = v' W u``.

    ``W`` is the weight as a matrix, all axes but the last (that of outputs) in one. ``u`` and ``v`` are
    state. In training each pass brings them closer to the singular vectors, ``iterations`` times::

        u = W' v / norm(W' v)
        v = W u / norm(W u)

    Outside training they stay; a network that was not trained yet makes more iterations in each
    pass instead. With the inner layer's gradient ``dw`` and ``u`` and ``v`` as constants::

        dW = (dw - sum(dw * W) / s * v u') / s

    Args:
        layer: a layer with a parameter ``weight`` whose last axis is that of outputs, as of Dense and
            convolutions.
        iterations: the iterations in each pass of training; default 1.
        epsilon: the smallest norm that is divided by; default 1e-12.

    Raises:
        ValueError: an argument is out of range, or the layer has no such weight, or a regularizer or
            constraint, which would see ``W``.

    Source: Miyato et al. (2018), arXiv:1802.05957.
    """

    iterations: int = 1
    epsilon: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        set_size(self, "iterations")
        set_positive(self, "epsilon")

    def init_state(self, input_shape: Shape) -> State:
        """Return ``u``, zero before training, and ``v``, a random direction."""
        params, _ = self.layer.init(input_shape, ShapeGenerator((0, 0)))
        *others, outputs = params["weight"].shape
        v = Generator.of(0, "spectral_norm").normal((math.prod(others),))
        zeros = initializers.Zeros()((outputs,), ShapeGenerator((0, 0)))
        return {**super().init_state(input_shape), "u": zeros, "v": v / (v**2).sum() ** 0.5}

    def forward(self, params: Params, x: Any, ctx: Context) -> tuple[Any, Backward]:
        """Return the output of the layer with its normalized weight."""
        xp, wide, shape = ctx.xp, ctx.backend.dtype, params["layer"]["weight"].shape
        matrix = as_matrix(xp.astype(params["layer"]["weight"], wide, copy=False), xp)
        u, v = (xp.astype(ctx.state[name], wide, copy=False) for name in ("u", "v"))
        if ctx.training:
            u, v = self._iterate(matrix, v, self.iterations, ctx)
            ctx.set_state(u=u, v=v)
        else:
            trained = dot(u, u, xp) > 0.0
            new = self._iterate(matrix, v, _ITERATIONS_BEFORE_TRAINING, ctx)
            u, v = (xp.where(trained, old, n) for old, n in zip((u, v), new, strict=True))
        sigma = dot(v, matrix @ u, xp)
        normalized = matrix / sigma
        y, inner_backward = self.pass_on(params, xp.reshape(normalized, shape), x, ctx)

        def backward(dy: Any, input_grad: bool = True) -> tuple[Any, Params]:
            dx, grads = inner_backward(dy, input_grad=input_grad)
            dtype = grads["weight"].dtype
            dw = as_matrix(xp.astype(grads["weight"], wide, copy=False), xp)
            outer = v[:, None] * u[None, :]
            dmatrix = (dw - dot(dw, normalized, xp) * outer) / sigma
            dweight = xp.astype(xp.reshape(dmatrix, shape), dtype, copy=False)
            return dx, {"layer": {**grads, "weight": dweight}}

        return y, backward

    def _iterate(self, matrix: Array, v: Array, count: int, ctx: Context) -> tuple[Array, Array]:
        """Return better singular vectors ``u`` and ``v``."""
        xp, u = ctx.xp, v
        for _ in range(count):
            u = v @ matrix
            u = u / norm(u, self.epsilon, xp)
            v = matrix @ u
            v = v / norm(v, self.epsilon, xp)
        return u, v
