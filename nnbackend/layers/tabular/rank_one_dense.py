"""A fully connected layer that members share, each with scales of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbackend import initializers
from nnbackend.core import functional
from nnbackend.core.checks import convert_fields, set_flag, set_size
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.initializers import Initializer, Zeros, for_each_member
from nnbackend.layers.base import register_layer
from nnbackend.layers.tabular.products import check_members, product, swapped

__all__ = ["RankOneDense"]


@register_layer
@dataclass(frozen=True)
class RankOneDense:
    """One weight for all members, with scales of each: ``y_k = ((x_k * r_k) @ weight) * s_k + bias_k``.

    (members, in) -> (members, out_features). The weight of member ``k`` is ``weight`` times the matrix
    of rank one ``r_k s_k``: an ensemble with few more numbers than one network. The parameters are
    ``weight`` (in, out), ``input_scale`` r (members, in), ``output_scale`` s (members, out) and ``bias``
    (members, out). With ``z = (x * r) @ weight`` and ``dz = dy * s``::

        dweight       = sum over members of (x * r).T @ dz
        dinput_scale  = sum of x * (dz @ weight.T)
        doutput_scale = sum of dy * z,  dbias = sum of dy
        dx            = r * (dz @ weight.T)

    Args:
        out_features: the number of outputs of a member.
        members: the number of members.
        bias: whether there is a bias; default True. The members' biases begin as the same.
        initializer: the initializer of the weight, a name or an object of
            :mod:`nnbackend.initializers`; default ``"glorot_uniform"``.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        input_initializer: the initializer of each member's ``r``; default ``"ones"``. TabM has
            ``"random_signs"`` in its first layer, which makes the members differ, and ones elsewhere.
        output_initializer: the initializer of each member's ``s``; default ``"ones"``.

    Raises:
        ValueError: a number is below 1, or a name is not known; or, when the network is built, rows do
            not have the shape (members, features).

    Source: Wen, Tran, Ba (2020), BatchEnsemble, arXiv:2002.06715; Gorishniy, Kotelnikov, Babenko (2025),
    TabM, arXiv:2410.24210.
    """

    out_features: int
    members: int
    bias: bool = True
    initializer: str | Initializer = "glorot_uniform"
    bias_initializer: str | Initializer = "zeros"
    input_initializer: str | Initializer = "ones"
    output_initializer: str | Initializer = "ones"

    def __post_init__(self) -> None:
        set_size(self, "out_features")
        set_size(self, "members")
        set_flag(self, "bias")
        names = "initializer", "bias_initializer", "input_initializer", "output_initializer"
        convert_fields(self, **dict.fromkeys(names, initializers.get))

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the weight, the scales and the bias, and the shape of the output."""
        inputs, outputs, members = check_members(self, input_shape), self.out_features, self.members
        r, s = for_each_member(self.input_initializer), for_each_member(self.output_initializer)
        params = {
            "weight": rng.draw(self.initializer, (inputs, outputs), "weight"),  # type: ignore[arg-type]
            "input_scale": rng.draw(r, (members, inputs), "input_scale"),
            "output_scale": rng.draw(s, (members, outputs), "output_scale"),
        }
        if self.bias:
            shared = rng.draw(self.bias_initializer, (outputs,), "bias")  # type: ignore[arg-type]
            params["bias"] = rng.draw(Zeros(), (members, 1), "bias") + shared
        return params, (members, outputs)

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return the multiplications for a row: each member's inputs with a weight for each output."""
        return math.prod(input_shape) * self.out_features

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``((x * r) @ weight) * s + bias``."""
        xp, r, s = ctx.xp, params["input_scale"], params["output_scale"]
        # Rows member by member, as they lie in memory: no copy makes them one matrix.
        by_member = swapped(x, xp)
        z, pullback = product(by_member * r[:, None, :], params["weight"], xp)
        y = z * s[:, None, :]
        if self.bias:
            y += params["bias"][:, None, :]

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            dy = swapped(dy, xp)
            dscaled, dweight = pullback(dy * s[:, None, :], True)
            grads = {
                "weight": dweight,
                "input_scale": _total(by_member * dscaled, ctx),
                "output_scale": _total(dy * z, ctx),
            }
            if self.bias:
                grads["bias"] = functional.total(dy, xp, 1, ctx.backend.dtype)
            if not input_grad:
                return None, grads
            return swapped(dscaled * r[:, None, :], xp), grads

        return swapped(y, xp), backward


def _total(terms: Array, ctx: Context) -> Array:
    """Return the sum over the rows of each member, in the dtype of the terms."""
    total = functional.total(terms, ctx.xp, 1, ctx.backend.dtype)
    return ctx.xp.astype(total, terms.dtype, copy=False)
