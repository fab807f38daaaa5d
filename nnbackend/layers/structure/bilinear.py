"""A bilinear map of two inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from nnbackend import initializers
from nnbackend.core import functional
from nnbackend.core.checks import convert_fields, set_flag, set_size
from nnbackend.core.random import Generator
from nnbackend.core.shapes import Shapes
from nnbackend.core.tree import arrays_in
from nnbackend.core.types import Array, Arrays, Backward, Context, Params, Shape
from nnbackend.initializers import Initializer
from nnbackend.layers.base import register_layer
from nnbackend.layers.structure.several import nested_like, shapes_in

__all__ = ["Bilinear"]


@register_layer
@dataclass(frozen=True)
class Bilinear:
    """A bilinear map of two inputs: ``y_k = sum over i, j of a_i weight_ijk b_j + bias_k``.

    The inputs are a tuple or a dictionary of ``a`` (batch, ..., in_a) and ``b`` (batch, ..., in_b), the
    output is (batch, ..., out_features). With ``t = a @ weight``, (batch, in_b, out_features)::

        dt      = b[:, :, None] * dy[:, None, :]
        dweight = a.T @ dt        (in_a, in_b, out_features)
        da = dt @ weight.T;  db = sum of t * dy[:, None, :] over out_features

    Args:
        out_features: the number of outputs.
        bias: whether there is a bias; default True.
        initializer: the initializer of the weight, a name or an object of
            :mod:`nnbackend.initializers`; default ``"glorot_uniform"``.
        bias_initializer: the initializer of the bias; default ``"zeros"``.

    Raises:
        ValueError: ``out_features`` is below 1, or a name is not known; when the network is built, if
            there are not two inputs that differ in their last axis alone.
    """

    takes: ClassVar[str] = "numbers"  # of each input
    out_features: int
    bias: bool = True
    initializer: str | Initializer = "glorot_uniform"
    bias_initializer: str | Initializer = "zeros"

    def __post_init__(self) -> None:
        set_size(self, "out_features")
        set_flag(self, "bias")
        convert_fields(self, initializer=initializers.get, bias_initializer=initializers.get)

    def init(self, input_shape: Shapes, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` (in_a, in_b, out) and ``bias`` (out,), and the shape of the output."""
        shapes = shapes_in(input_shape, "Bilinear")
        if len(shapes) != 2 or () in shapes or shapes[0][:-1] != shapes[1][:-1]:
            raise ValueError(
                "Bilinear takes two inputs that differ in their last axis alone, got the shapes "
                f"{', '.join(map(str, shapes))}"
            )
        (*axes, size_a), (*_, size_b) = shapes
        shape = (size_a, size_b, self.out_features)
        params = {"weight": rng.draw(self.initializer, shape, "weight")}  # type: ignore[arg-type]
        if self.bias:
            params["bias"] = rng.draw(self.bias_initializer, shape[2:], "bias")  # type: ignore[arg-type]
        return params, (*axes, self.out_features)

    def multiply_adds(self, input_shape: Shapes, output_shape: Shape) -> int:
        """Return the multiplications for a row: each pair of inputs with a weight for each output."""
        (*_, size_a), (*_, size_b) = shapes_in(input_shape, "Bilinear")
        return math.prod(output_shape) * size_a * size_b

    def forward(self, params: Params, x: Arrays, ctx: Context) -> tuple[Array, Backward]:
        """Return the map of both inputs."""
        xp, weight, like = ctx.xp, params["weight"], nested_like(x)
        given_a, given_b = arrays_in(x)
        rows = math.prod(given_a.shape[:-1])
        a = xp.reshape(given_a, (rows, given_a.shape[-1]))
        b = xp.reshape(given_b, (rows, given_b.shape[-1], 1))
        size_a, size_b, count = weight.shape
        matrix = xp.reshape(weight, (size_a, size_b * count))
        t = xp.reshape(a @ matrix, (rows, size_b, count))
        y = xp.sum(b * t, axis=1)
        if self.bias:
            y += params["bias"]

        def backward(dy: Array, input_grad: bool = True) -> tuple[Arrays | None, Params]:
            rows_dy = xp.reshape(dy, (rows, 1, count))
            dt = xp.reshape(b * rows_dy, (rows, size_b * count))
            grads = {"weight": xp.reshape(a.T @ dt, (size_a, size_b, count))}
            if self.bias:
                flat_dy = xp.reshape(dy, (rows, count))
                grads["bias"] = functional.total(flat_dy, xp, 0, ctx.backend.dtype)
            if not input_grad:
                return None, grads
            da = xp.reshape(dt @ matrix.T, given_a.shape)
            db = xp.reshape(xp.sum(t * rows_dy, axis=2), given_b.shape)
            return like([da, db]), grads

        return xp.reshape(y, (*given_a.shape[:-1], count)), backward
