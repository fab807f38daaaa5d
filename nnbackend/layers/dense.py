"""The fully connected layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbackend import activations, constraints, initializers, regularizers
from nnbackend.activations import ActivationFunction
from nnbackend.constraints import Constraint
from nnbackend.core import functional
from nnbackend.core.checks import convert_fields, set_flag, set_size
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Namespace, Params, Shape
from nnbackend.initializers import Initializer
from nnbackend.layers.base import register_layer
from nnbackend.regularizers import Regularizer

__all__ = ["Dense"]


@register_layer
@dataclass(frozen=True)
class Dense:
    """A fully connected layer: ``y = f(x @ weight + bias)`` over the last axis of ``x``.

    With ``z = x @ weight + bias`` and ``dz = dy * f'(z)``::

        dweight = x.T @ dz        (in_features, out_features)
        dbias   = sum of dz over the batch        (out_features,)
        dx      = dz @ weight.T        (batch, in_features)

    Args:
        out_features: the number of outputs.
        activation: ``f``, a name or an object of :mod:`nnbackend.activations`; None (the default): the
            identity.
        bias: whether there is a bias; default True.
        initializer: the initializer of the weight, a name or an object of
            :mod:`nnbackend.initializers`. None (the default): He's (uniform) before an activation of
            the ReLU family, Glorot's (uniform) otherwise.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        regularizer: a penalty on the weight that is part of the loss, a name or an object of
            :mod:`nnbackend.regularizers`; default None.
        constraint: the constraint that the weight meets after each update, a name or an object of
            :mod:`nnbackend.constraints`; default None.

    Raises:
        ValueError: ``out_features`` is below 1, or a name is not known.
    """

    out_features: int
    activation: str | ActivationFunction | None = None
    bias: bool = True
    initializer: str | Initializer | None = None
    bias_initializer: str | Initializer = "zeros"
    regularizer: str | Regularizer | None = None
    constraint: str | Constraint | None = None

    def __post_init__(self) -> None:
        set_size(self, "out_features")
        set_flag(self, "bias")
        convert_fields(
            self,
            activation=activations.get,
            bias_initializer=initializers.get,
            regularizer=regularizers.get,
            constraint=constraints.get,
        )
        if self.initializer is None:
            object.__setattr__(self, "initializer", self.activation.initializer)  # type: ignore[union-attr]
        convert_fields(self, initializer=initializers.get)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` (in, out) and ``bias`` (out,), and the shape of the output."""
        if not input_shape:
            raise ValueError("Dense needs at least one feature axis, got a scalar for each row")
        shape = (input_shape[-1], self.out_features)
        params = {"weight": rng.draw(self.initializer, shape, "weight")}  # type: ignore[arg-type]
        if self.bias:
            params["bias"] = rng.draw(self.bias_initializer, shape[1:], "bias")  # type: ignore[arg-type]
        return params, (*input_shape[:-1], self.out_features)

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return the multiplications for a row: each input with a weight for each output."""
        return math.prod(input_shape) * self.out_features

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``f(x @ weight + bias)``."""
        # One product of two matrices, whatever the axes: it is faster than one for each row, and
        # some libraries cannot do the latter in every dtype.
        xp, weight, shape = ctx.xp, params["weight"], x.shape
        is_matrix = len(shape) == 2
        rows_x = x if is_matrix else _as_rows(x, xp)
        z = rows_x @ weight
        if self.bias:
            z += params["bias"]
        z = ctx.note("z", z if is_matrix else xp.reshape(z, (*shape[:-1], self.out_features)))
        y, activation_backward = self.activation(z, ctx)  # type: ignore[operator,misc]

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            dz = ctx.note("dz", activation_backward(dy))
            rows_dz = dz if is_matrix else _as_rows(dz, xp)
            grads = {"weight": rows_x.T @ rows_dz}
            if self.bias:
                grads["bias"] = functional.total(rows_dz, xp, 0, ctx.backend.dtype)
            if not input_grad:
                return None, grads
            dx = rows_dz @ weight.T
            return (dx if is_matrix else xp.reshape(dx, shape)), grads

        return y, backward


def _as_rows(x: Array, xp: Namespace) -> Array:
    """Return ``x`` as a matrix, (batch, ..., features) -> (batch * ..., features)."""
    return xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
