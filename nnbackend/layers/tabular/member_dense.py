"""A fully connected layer for each of several members."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbackend import initializers
from nnbackend.core import functional
from nnbackend.core.checks import convert_fields, set_flag, set_size
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.initializers import Initializer, for_each_member
from nnbackend.layers.base import register_layer
from nnbackend.layers.tabular.products import check_members, product

__all__ = ["MemberDense"]


@register_layer
@dataclass(frozen=True)
class MemberDense:
    """A fully connected layer of its own for each member: ``y_k = x_k @ weight_k + bias_k``.

    (members, in) -> (members, out_features), computed as one batched product; ``weight``
    (members, in, out) and ``bias`` (members, out). Its gradients are those of :class:`Dense`, for each
    member.

    Args:
        out_features: the number of outputs of a member.
        members: the number of members.
        bias: whether there is a bias; default True.
        initializer: the initializer of each member's weight, a name or an object of
            :mod:`nnbackend.initializers`; default ``"glorot_uniform"``.
        bias_initializer: the initializer of each member's bias; default ``"zeros"``.

    Raises:
        ValueError: a number is below 1, or a name is not known; or, when the network is built, rows do
            not have the shape (members, features).
    """

    out_features: int
    members: int
    bias: bool = True
    initializer: str | Initializer = "glorot_uniform"
    bias_initializer: str | Initializer = "zeros"

    def __post_init__(self) -> None:
        set_size(self, "out_features")
        set_size(self, "members")
        set_flag(self, "bias")
        convert_fields(self, initializer=initializers.get, bias_initializer=initializers.get)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` and ``bias``, and the shape of the output."""
        shape = (self.members, check_members(self, input_shape), self.out_features)
        params = {"weight": rng.draw(for_each_member(self.initializer), shape, "weight")}
        if self.bias:
            own = (self.members, self.out_features)
            params["bias"] = rng.draw(for_each_member(self.bias_initializer), own, "bias")
        return params, (self.members, self.out_features)

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return the multiplications for a row: each input with a weight for each output."""
        return math.prod(input_shape) * self.out_features

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``x @ weight + bias`` of each member."""
        y, pullback = product(x, params["weight"], ctx.xp)
        if self.bias:
            y += params["bias"]

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            dx, dweight = pullback(dy, input_grad)
            grads = {"weight": dweight}
            if self.bias:
                grads["bias"] = functional.total(dy, ctx.xp, 0, ctx.backend.dtype)
            return dx, grads

        return y, backward
