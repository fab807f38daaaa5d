"""Numbers as a few periodic functions of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbackend.core import functional
from nnbackend.core.checks import check_size, set_number, set_size
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.initializers import Normal, Uniform
from nnbackend.layers.base import register_layer
from nnbackend.layers.tabular.last_axes import last_axes
from nnbackend.layers.tabular.products import swapped

__all__ = ["PeriodicEmbedding"]


@register_layer
@dataclass(frozen=True)
class PeriodicEmbedding:
    """Add to each feature a few learned mixtures of cosines of it.

    With ``u = 2 pi x frequency + phase``, one number for each frequency, a feature ``x`` becomes
    ``(cos(u) @ weight + bias, x)``, ``outputs + 1`` numbers::

        y       = (cos(u) @ weight + bias, x)
        du      = -sin(u) * (dz @ weight.T)        dz: that part of dy
        dweight = sum of cos(u).T @ dz,  dbias = sum of dz
        dphase  = sum of du,  dfrequency = sum of 2 pi x du
        dx      = dy of x itself + sum of 2 pi frequency du

    Shapes are (..., features) -> (..., count * (outputs + 1) + features - count): the first ``count``
    features, each with its own parameters, one after the other, and then the others as they are. So
    numeric columns come first, and one-hot columns behind them. The parameters are ``frequency`` and
    ``phase`` (count, frequencies), ``weight`` (count, frequencies, outputs) and ``bias``
    (count, outputs). At the beginning frequencies are normal with the deviation ``scale``, phases
    uniform over [-pi, pi), weights and biases uniform within ``1 / sqrt(frequencies)``. A small
    ``scale`` is for features of about unit size, of which it makes smooth functions.

    Args:
        frequencies: the number of frequencies of a feature; default 16.
        outputs: the number of mixtures of a feature; default 3.
        scale: the standard deviation of the initial frequencies, at least 0; default 0.1.
        count: the number of features that are embedded, the first ones; None (the default): all.
        axes: the number of last axes of a row whose features have their own parameters; default 1. With
            2 each of several members, rows of shape (members, features), has its own.

    Raises:
        ValueError: a number is out of range; or, when the network is built, there are fewer features
            than ``count``, or fewer axes than ``axes``.

    Source: Gorishniy, Rubachev, Babenko (2022), On Embeddings for Numerical Features, arXiv:2203.05556;
    with a phase, a linear layer and the feature itself: Holzmüller, Grinsztajn, Steinwart (2024),
    arXiv:2407.04491, PBLD.
    """

    frequencies: int = 16
    outputs: int = 3
    scale: float = 0.1
    count: int | None = None
    axes: int = 1

    def __post_init__(self) -> None:
        for name in ("frequencies", "outputs", "axes"):
            set_size(self, name)
        set_number(self, "scale", 0.0)
        if self.count is not None:
            object.__setattr__(self, "count", check_size("count", self.count))

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the parameters, and the shape of the output."""
        places = last_axes(self, input_shape)
        count = places[-1] if self.count is None else self.count
        if count > places[-1]:
            raise ValueError(
                f"PeriodicEmbedding(count={count}) embeds the first {count} features, and rows of "
                f"shape {input_shape} have {places[-1]}"
            )
        each, limit = (*places[:-1], count), 1.0 / math.sqrt(self.frequencies)
        params = {
            "frequency": rng.draw(Normal(0.0, self.scale), (*each, self.frequencies), "frequency"),
            "phase": rng.draw(Uniform(-math.pi, math.pi), (*each, self.frequencies), "phase"),
            "weight": rng.draw(
                Uniform(-limit, limit), (*each, self.frequencies, self.outputs), "weight"
            ),
            "bias": rng.draw(Uniform(-limit, limit), (*each, self.outputs), "bias"),
        }
        width = count * (self.outputs + 1) + places[-1] - count
        return params, (*input_shape[:-1], width)

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return the multiplications for a row: each number's cosines with a weight for each mixture."""
        embedded = (math.prod(output_shape) - math.prod(input_shape)) // self.outputs
        return embedded * self.frequencies * self.outputs

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the mixtures of cosines of the first features, with these, and the others."""
        xp, shape, dtype = ctx.xp, x.shape, x.dtype
        count = params["phase"].shape[-2]
        rest = shape[-1] - count
        numbers = x[..., :count] if rest else x
        features = math.prod(params["phase"].shape[:-1])
        rows = xp.reshape(numbers, (-1, features))
        # Angles may be many times 2 pi, of which 16 bits would leave little.
        wide = ctx.backend.dtype if functional.is_half(dtype) else dtype
        per_feature = (features, self.frequencies)
        turns = xp.reshape(xp.astype(params["frequency"], wide, copy=False), per_feature)
        turns = turns * (2.0 * math.pi)
        long = xp.astype(rows, wide, copy=False)[:, :, None]
        angle = long * turns  # (rows, features, frequencies)
        angle += xp.reshape(xp.astype(params["phase"], wide, copy=False), per_feature)
        waves = swapped(
            xp.astype(xp.cos(angle), dtype, copy=False), xp
        )  # a matrix for each feature
        weight = xp.reshape(params["weight"], (features, self.frequencies, self.outputs))
        z = waves @ weight
        z += xp.reshape(params["bias"], (features, 1, self.outputs))
        width = (*shape[:-1], count * (self.outputs + 1))
        y = xp.reshape(xp.concat([swapped(z, xp), rows[:, :, None]], axis=2), width)
        if rest:
            y = xp.concat([y, x[..., count:]], axis=-1)

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            own = dy[..., : width[-1]] if rest else dy
            own = xp.reshape(own, (-1, features, self.outputs + 1))
            dz = own[:, :, : self.outputs]
            by_feature = swapped(dz, xp)
            du = xp.sin(angle)
            du *= -xp.astype(swapped(by_feature @ weight.mT, xp), wide, copy=False)
            grads = {
                "frequency": xp.sum(long * du, axis=0) * (2.0 * math.pi),
                "phase": xp.sum(du, axis=0),
                "weight": waves.mT @ by_feature,
            }
            grads = {name: xp.astype(g, dy.dtype, copy=False) for name, g in grads.items()}
            grads["bias"] = functional.total(dz, xp, 0, wide)
            grads = {name: xp.reshape(g, params[name].shape) for name, g in grads.items()}
            if not input_grad:
                return None, grads
            du *= turns
            dx = xp.astype(xp.sum(du, axis=2), dy.dtype, copy=False)
            dx = xp.reshape(dx + own[:, :, self.outputs], (*shape[:-1], count))
            return (xp.concat([dx, dy[..., width[-1] :]], axis=-1) if rest else dx), grads

        return y, backward
