"""A layer around another one that computes the weight of the inner layer from its own parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.core.layer_tree import init_state
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Context, Layer, Namespace, Params, Shape, State
from nnbackend.layers.base import check_layer

__all__ = ["WrappedWeight", "as_matrix", "dot", "norm"]


@dataclass(frozen=True)
class WrappedWeight:
    """The base of layers that pass the inner layer's parameter ``weight`` on in another form."""

    layer: Layer

    def __post_init__(self) -> None:
        check_layer(self.layer)
        for attribute in ("regularizer", "constraint"):
            if getattr(self.layer, attribute, None) is not None:
                raise ValueError(
                    f"{type(self).__name__} is around a layer with a {attribute}, which would see the "
                    "weight before it is normalized, whose size means nothing; leave it out"
                )

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the parameters of the layer, as ``layer``, and the shape of its output."""
        params, shape = self.layer.init(input_shape, rng.child("layer"))
        if "weight" not in params or len(params["weight"].shape) < 2:
            raise ValueError(
                f"{type(self).__name__} normalizes a layer's parameter weight, of two axes or more; "
                f"{type(self.layer).__name__} has {', '.join(sorted(params)) or 'no parameters'}"
            )
        return {"layer": params}, shape

    def init_state(self, input_shape: Shape) -> State:
        """Return the state of the layer inside, as ``layer``, if it has any."""
        inner = init_state(self.layer, input_shape)
        return {"layer": inner} if inner else {}

    def pass_on(self, params: Params, weight: Array, x: Any, ctx: Context) -> tuple[Any, Any]:
        """Return output and backward pass of the layer inside, with another weight."""
        inner = {**params["layer"], "weight": ctx.xp.astype(weight, _dtype(params), copy=False)}
        return self.layer.forward(inner, x, ctx.child("layer"))


def _dtype(params: Params) -> Any:
    return params["layer"]["weight"].dtype


def as_matrix(weight: Array, xp: Namespace) -> Array:
    """Return a weight as a matrix with a column for each output: (..., in, out) -> (all others, out)."""
    return xp.reshape(weight, (-1, weight.shape[-1]))


def dot(a: Array, b: Array, xp: Namespace, axis: int | None = None) -> Array:
    """Return the sum of the products of two arrays, along an axis or over all."""
    return xp.sum(a * b, axis=axis)


def norm(a: Array, epsilon: float, xp: Namespace, axis: int | None = None) -> Array:
    """Return the Euclidean norm, along an axis or of all, but at least ``epsilon``."""
    return xp.maximum(xp.sqrt(dot(a, a, xp, axis)), epsilon)
