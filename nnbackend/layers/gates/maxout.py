"""Maxout: the largest of several linear functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from nnbackend.constraints import Constraint
from nnbackend.core.checks import set_size
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.initializers import Initializer
from nnbackend.layers.base import register_layer
from nnbackend.layers.dense import Dense
from nnbackend.regularizers import Regularizer

__all__ = ["Maxout"]


@register_layer
@dataclass(frozen=True)
class Maxout:
    """The largest of several linear functions: ``y_j = max_k z_kj`` with ``z = x @ weight + bias``.

    (..., in) -> (..., out_features). ``weight`` (in, pieces * out_features) and ``bias``
    (pieces * out_features,) hold the pieces one after the other, ``z_kj`` in column
    ``k * out_features + j``. ``dz`` is ``dy`` where a piece is the largest (of equal ones the first) and
    0 elsewhere; the rest is as for :class:`Dense`.

    Args:
        out_features: the number of outputs.
        pieces: the number of linear functions for each output; default 2.
        bias: whether there is a bias; default True.
        initializer: the initializer of the weight, a name or an object of
            :mod:`nnbackend.initializers`; default ``"glorot_uniform"``.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on the weight that is part of the loss, a name or an object of
            :mod:`nnbackend.regularizers`; default None.
        constraint: the constraint that the weight meets after each update, a name or an object of
            :mod:`nnbackend.constraints`; default None. The paper has a maximum norm.

    Raises:
        ValueError: a number is below 1, or a name is not known.

    Source: Goodfellow, Warde-Farley, Mirza, Courville, Bengio (2013), arXiv:1302.4389.
    """

    out_features: int
    pieces: int = 2
    bias: bool = True
    initializer: str | Initializer = "glorot_uniform"
    bias_initializer: str | Initializer = "zeros"
    regularizer: str | Regularizer | None = None
    constraint: str | Constraint | None = None

    def __post_init__(self) -> None:
        set_size(self, "out_features")
        set_size(self, "pieces")
        names = "bias", "initializer", "bias_initializer", "regularizer", "constraint"
        for name in names:  # as they are checked there
            object.__setattr__(self, name, getattr(self._dense, name))

    @cached_property
    def _dense(self) -> Dense:
        """The pieces of all outputs."""
        return Dense(
            self.pieces * self.out_features,
            None,
            self.bias,
            self.initializer,
            self.bias_initializer,
            self.regularizer,
            self.constraint,
        )

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` (in, pieces * out) and ``bias`` (pieces * out,), and the output's shape."""
        if not input_shape:
            raise ValueError("Maxout needs at least one feature axis, got a scalar for each row")
        params, shape = self._dense.init(input_shape, rng)
        return params, (*shape[:-1], self.out_features)

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return the multiplications for a row: each input with a weight for each piece."""
        return math.prod(input_shape) * self.pieces * self.out_features

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the largest piece of each output."""
        xp = ctx.xp
        z, dense_backward = self._dense.forward(params, x, ctx)
        pieces = xp.reshape(z, (*z.shape[:-1], self.pieces, self.out_features))

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            largest = xp.argmax(pieces, axis=-2, keepdims=True)
            numbers = xp.arange(self.pieces, dtype=largest.dtype, device=ctx.backend.device)
            chosen = xp.astype(largest == numbers[:, None], dy.dtype)
            dz = chosen * xp.expand_dims(dy, axis=-2)
            return dense_backward(xp.reshape(dz, z.shape), input_grad=input_grad)

        return xp.max(pieces, axis=-2), backward
