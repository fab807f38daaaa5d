"""A gate between layers and a connection around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnbackend import initializers
from nnbackend.core import functional
from nnbackend.core.checks import convert_fields, set_number
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Layer, Params, Shape, State
from nnbackend.initializers import Initializer, Ones
from nnbackend.layers.base import register_layer
from nnbackend.layers.sequential import Sequential

__all__ = ["Highway"]


@register_layer
@dataclass(frozen=True)
class Highway:
    """A learned gate between layers and a connection around them: ``y = t * f(x) + (1 - t) * x``.

    ``t = sigmoid(x @ weight + bias)`` over the last axis. With ``dt = dy * (f(x) - x) * t * (1 - t)``::

        dweight = x.T @ dt;  dbias = sum of dt over the batch
        dx = dy * (1 - t) + dt @ weight.T + df(dy * t)

    Args:
        layers: ``f``, one layer after the other; its output has the shape of its input. Their
            parameters are named ``"0"``, ``"1"``, ..., those of the gate ``"weight"`` and ``"bias"``.
        gate_bias: the initial bias of the gate; default -1: it first lets more of ``x`` through.
        initializer: the initializer of the gate's weight, a name or an object of
            :mod:`nnbackend.initializers`; default ``"glorot_uniform"``.

    Raises:
        TypeError: something in ``layers`` is no layer.
        ValueError: ``gate_bias`` is no number; when the network is built, if ``f`` changes the shape.

    Source: Srivastava, Greff, Schmidhuber (2015), arXiv:1505.00387.
    """

    layers: Sequence[Layer]
    gate_bias: float = -1.0
    initializer: str | Initializer = "glorot_uniform"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", Sequential(self.layers).layers)
        set_number(self, "gate_bias")
        convert_fields(self, initializer=initializers.get)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the parameters of the layers and of the gate, and the input's shape."""
        params, shape = Sequential(self.layers).init(input_shape, rng)
        if shape != input_shape or not shape:
            raise ValueError(
                f"Highway needs layers that keep the shape of rows with an axis, but its layers map "
                f"{input_shape} to {shape}"
            )
        size = shape[-1]
        gate = {
            "weight": rng.draw(self.initializer, (size, size), "weight"),  # type: ignore[arg-type]
            "bias": self.gate_bias * rng.draw(Ones(), (size,), "bias"),
        }
        return {**params, **gate}, shape

    def init_state(self, input_shape: Shape) -> State:
        """Return the state of the layers that have one, by their names."""
        return Sequential(self.layers).init_state(input_shape)

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return the multiplications of the gate for a row, beside those of the layers."""
        return math.prod(input_shape) * input_shape[-1]

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``t * f(x) + (1 - t) * x``."""
        xp, weight, shape = ctx.xp, params["weight"], x.shape
        matrix_shape = (math.prod(shape[:-1]), shape[-1])
        rows = xp.reshape(x, matrix_shape)
        z = rows @ weight
        z += params["bias"]
        t = xp.reshape(functional.sigmoid(z, xp), shape)
        inner, inner_backward = Sequential(self.layers).forward(params, x, ctx)
        difference = inner - x
        y = t * difference
        y += x

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            through = dy * t
            dx, grads = inner_backward(through, input_grad=input_grad)
            dt = xp.reshape(through * difference * (1.0 - t), matrix_shape)
            grads |= {
                "weight": rows.T @ dt,
                "bias": functional.total(dt, xp, 0, ctx.backend.dtype),
            }
            if not input_grad:
                return None, grads
            dx = dx + xp.reshape(dt @ weight.T, shape)
            dx += dy - through
            return dx, grads

        return y, backward
