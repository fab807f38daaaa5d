"""A fully connected layer that is scaled by its number of inputs, and begins as data say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnbackend import initializers
from nnbackend.core import functional
from nnbackend.core.checks import check_size, convert_fields, set_flag, set_size
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.initializers import Initializer, for_each_member
from nnbackend.layers.base import register_layer
from nnbackend.layers.tabular.products import check_members, product

__all__ = ["ScaledDense"]

_POINTS = 5  # rows of the data that a bias is a mean of
_MOST_PLACES = 2**31 - 1  # that 32 bits number


@register_layer
@dataclass(frozen=True)
class ScaledDense:
    """A fully connected layer in the neural-tangent form: ``y = x @ weight / sqrt(in) + bias``.

    (..., in) -> (..., out_features), with weights of about unit size whatever the width, so that one
    learning rate suits all layers. With ``s = 1 / sqrt(in)``::

        dweight = s x.T @ dy        (in, out)
        dbias   = sum of dy over the batch        (out,)
        dx      = s dy @ weight.T

    With ``members`` each of them has parameters of its own: (members, in) -> (members, out_features),
    ``weight`` (members, in, out) and ``bias`` (members, out).

    :meth:`nnbackend.Network.initialize_from` makes the parameters fit data: each column of the
    weight is divided by the standard deviation of its outputs, which then is 1; each bias is minus
    a random mean of five of these outputs, those of rows chosen at random, with exponential weights
    that sum to 1. So the kink of an activation behind lies among the data. A column whose outputs
    are all the same stays as it is.

    Args:
        out_features: the number of outputs.
        members: the number of members; None (the default): there is one weight.
        bias: whether there is a bias; default True.
        initializer: the initializer of the weight, a name or an object of
            :mod:`nnbackend.initializers`; default ``"normal"``, the standard normal distribution.
        bias_initializer: the initializer of the bias; default ``"zeros"``.
        data_driven: whether ``initialize_from`` changes the parameters; default True.

    Raises:
        ValueError: a number is below 1, or a name is not known; or, when the network is built, rows do
            not have the shape (members, features).

    Source: Jacot, Gabriel, Hongler (2018), Neural Tangent Kernel, arXiv:1806.07572; the initialization:
    Holzmüller, Grinsztajn, Steinwart (2024), arXiv:2407.04491, after Steinwart (2019), arXiv:1903.11482.
    """

    out_features: int
    members: int | None = None
    bias: bool = True
    initializer: str | Initializer = "normal"
    bias_initializer: str | Initializer = "zeros"
    data_driven: bool = True

    def __post_init__(self) -> None:
        set_size(self, "out_features")
        if self.members is not None:
            object.__setattr__(self, "members", check_size("members", self.members))
        set_flag(self, "bias")
        set_flag(self, "data_driven")
        convert_fields(self, initializer=initializers.get, bias_initializer=initializers.get)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` and ``bias``, and the shape of the output."""
        if not input_shape:
            raise ValueError(
                "ScaledDense needs at least one feature axis, got a scalar for each row"
            )
        weight: Any = self.initializer
        bias: Any = self.bias_initializer
        each: Shape = ()
        if self.members is not None:
            check_members(self, input_shape)
            weight, bias, each = for_each_member(weight), for_each_member(bias), (self.members,)
        shape = (*each, input_shape[-1], self.out_features)
        params = {"weight": rng.draw(weight, shape, "weight")}
        if self.bias:
            params["bias"] = rng.draw(bias, (*each, self.out_features), "bias")
        return params, (*input_shape[:-1], self.out_features)

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return the multiplications for a row: each input with a weight for each output."""
        return math.prod(input_shape) * self.out_features

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``x @ weight / sqrt(in) + bias``."""
        xp, scale = ctx.xp, 1.0 / math.sqrt(x.shape[-1])
        y, pullback = product(x, params["weight"], xp)
        y *= scale
        if self.bias:
            y += params["bias"]
        y = ctx.note("z", y)

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            dy = ctx.note("dz", dy)
            dx, dweight = pullback(dy * scale, input_grad)
            grads = {"weight": dweight}
            if self.bias:
                before = tuple(range(dy.ndim - params["bias"].ndim))
                grads["bias"] = functional.total(dy, xp, before, ctx.backend.dtype)
            return dx, grads

        return y, backward

    def adapt(self, params: Params, x: Array, rng: Generator, ctx: Context) -> Params:
        """Return the parameters that rows ``x`` call for; see the class.

        Raises:
            ValueError: there are too few rows for a standard deviation, or too many.
        """
        if not self.data_driven:
            return params
        xp, weight, scale = ctx.xp, params["weight"], 1.0 / math.sqrt(x.shape[-1])
        z, _ = product(x, weight, xp)
        z *= scale
        columns = math.prod(weight.shape) // weight.shape[-2]
        rows = xp.reshape(z, (-1, columns))
        count = rows.shape[0]
        if count < 2 or count * columns > _MOST_PLACES:
            raise ValueError(
                f"ScaledDense takes the standard deviation of its outputs over some hundred rows; "
                f"got {count} with {columns} outputs"
            )
        # What rounding may put between equal numbers.
        size = xp.reshape(product(xp.abs(x), xp.abs(weight), xp)[0] * scale, (-1, columns))
        error = xp.max(size, axis=0) * (x.shape[-1] * float(xp.finfo(x.dtype).eps))
        varies = xp.max(rows, axis=0) - xp.min(rows, axis=0) > 2.0 * error
        deviation = xp.std(rows, axis=0)
        deviation = xp.where(varies, deviation, xp.ones_like(deviation))
        wide = xp.reshape(deviation, (*weight.shape[:-2], 1, weight.shape[-1]))
        adapted = {"weight": weight / wide}
        if self.bias:
            mean = _mean_of_random_rows(rows / deviation, rng, ctx)
            adapted["bias"] = xp.reshape(-mean, params["bias"].shape)
        return adapted


def _mean_of_random_rows(rows: Array, rng: Generator, ctx: Context) -> Array:
    """Return for each column the mean of numbers in it, with random rows and random weights."""
    xp, backend = ctx.xp, ctx.backend
    count, columns = rows.shape
    share = rng.child("shares").exponential((_POINTS, columns))
    share /= share.sum(axis=0)
    chosen = rng.child("rows").integers((_POINTS, columns), count)
    numbers = xp.arange(columns, dtype=xp.int32, device=backend.device)
    places = backend.asarray(chosen, dtype=xp.int32) * columns + numbers
    found = xp.take(xp.reshape(rows, (-1,)), xp.reshape(places, (-1,)), axis=0)
    return xp.sum(xp.reshape(found, (_POINTS, columns)) * backend.asarray(share), axis=0)
