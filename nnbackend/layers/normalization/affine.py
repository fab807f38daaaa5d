"""A weight and a bias for each channel, after a normalization, in the dtype that it computes in."""

from __future__ import annotations

import math
from collections.abc import Callable

from nnbackend import initializers
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape

__all__ = ["affine", "affine_params"]


def affine_params(shape: Shape, weight: bool, bias: bool, rng: Generator) -> Params:
    """Return the initial ``weight``, ones, and ``bias``, zeros, where they are wanted."""
    params: Params = {}
    if weight:
        params["weight"] = rng.draw(initializers.Ones(), shape, "weight")
    if bias:
        params["bias"] = rng.draw(initializers.Zeros(), shape, "bias")
    return params


def affine(
    params: Params, z: Array, z_backward: Callable[[Array], Array], dtype: object, ctx: Context
) -> tuple[Array, Backward]:
    """Return ``y = weight * z + bias``, as far as there are these parameters, and the backward pass.

    ``z`` is normalized, in the backend's dtype; ``z_backward`` maps ``dz`` to ``dx``. The output and
    ``dx`` have ``dtype``, and the parameters the shape of the last axes of ``z``::

        dweight = sum(dy * z)
        dbias   = sum(dy)
        dz      = dy * weight
    """
    xp, wide = ctx.xp, ctx.backend.dtype
    own = {name: xp.astype(p, wide, copy=False) for name, p in params.items()}
    y = z * own["weight"] if "weight" in own else z
    if "bias" in own:
        y = y + own["bias"]

    def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
        dy = xp.astype(dy, wide, copy=False)
        grads = {}
        for name, p in params.items():
            terms = dy * z if name == "weight" else dy
            grad = ctx.backend.sum_rows(xp.reshape(terms, (-1, math.prod(p.shape))))
            grads[name] = xp.reshape(grad, p.shape)
        if not input_grad:
            return None, grads
        dz = dy * own["weight"] if "weight" in own else dy
        return xp.astype(z_backward(dz), dtype, copy=False), grads

    return xp.astype(y, dtype, copy=False), backward
