"""Mixed precision: layers computed in a type of 16 bits, between parameters and a loss in float32.

The layers know nothing of it: they compute in the dtype of their inputs. Around them
parameters and inputs are cast down, outputs and gradients cast up::

    y = up(layers(down(params), down(x)))          dy -> grads = up(layers'(down(dy * scale))) / scale

The output activation is computed in float32, so that probabilities add up to 1. With float16, whose
smallest number is 6e-8, ``scale`` keeps gradients from becoming zero; see
:mod:`nnbackend.training.loss_scaling`.

Source: Micikevicius et al. (2018), Mixed Precision Training, arXiv:1710.03740.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from nnbackend.backends.base import Backend
from nnbackend.core.random import Generator
from nnbackend.core.tree import map_arrays, tree_map
from nnbackend.core.types import Array, Backward, Context, Layer, Namespace, Params, Shape
from nnbackend.layers.output import split_output_activation

__all__ = ["MixedPrecision", "with_precision"]


def with_precision(layers: Layer, backend: Backend) -> Layer:
    """Return the layers as a backend computes them: unchanged, or in mixed precision."""
    if not backend.mixed:
        return layers
    body, output = split_output_activation(layers)
    return MixedPrecision(body, output, backend.product_dtype, backend.dtype)


@dataclass(frozen=True)
class MixedPrecision:
    """Layers computed in a type of 16 bits.

    Args:
        layers: all but the output activation.
        output: the output activation, computed in ``wide``.
        half: the dtype of products and activations.
        wide: the dtype of inputs, outputs and gradients.
        scale: the factor of the gradient on its way through the layers, an array of no axes; None
            (the default): no factor.
    """

    layers: Layer
    output: Any
    half: Any
    wide: Any
    scale: Any = None

    def scaled(self, scale: Array) -> MixedPrecision:
        """Return the same with another scale."""
        return replace(self, scale=scale)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the parameters of the layers and the output's shape."""
        return self.layers.init(input_shape, rng)

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the output in ``wide``; the backward pass takes and gives gradients in it."""
        xp, scale = ctx.xp, self.scale
        params = tree_map(lambda p: xp.astype(p, self.half, copy=False), params)
        x = map_arrays(lambda a: _to(a, self.half, xp), x)
        z, layers_backward = self.layers.forward(params, x, ctx)
        y, output_backward = self.output(map_arrays(lambda a: _to(a, self.wide, xp), z), ctx)

        def up(gradient: Array) -> Array:
            gradient = xp.astype(gradient, self.wide, copy=False)
            return gradient if scale is None else gradient / scale

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            dz = output_backward(dy)
            if scale is not None:
                dz = map_arrays(lambda a: a * scale, dz)
            dz = map_arrays(lambda a: xp.astype(a, self.half, copy=False), dz)
            dx, grads = layers_backward(dz, input_grad=input_grad)
            return map_arrays(up, dx), tree_map(up, grads)

        return y, backward


def _to(x: Array, dtype: Any, xp: Namespace) -> Array:
    """Return numbers in another dtype; indices stay integers, which may be too large for it."""
    return xp.astype(x, dtype, copy=False) if xp.isdtype(x.dtype, "real floating") else x
