"""Layer normalization."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.core.checks import set_flag, set_positive, set_size
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.layers.base import register_layer
from nnbackend.layers.normalization.affine import affine, affine_params
from nnbackend.layers.normalization.standardize import standardize

__all__ = ["LayerNorm"]


@register_layer
@dataclass(frozen=True)
class LayerNorm:
    """Layer normalization: ``y = weight * z + bias`` with ``z = (x - mean) / sqrt(var + epsilon)``.

    Mean and variance, divided by the number of values, are those of each row, or each place of it, over
    the last axes. It does the same in training and outside. With means over the same axes::

        dweight = sum(dy * z)        (over all other axes)
        dbias   = sum(dy)
        dx      = (dz - mean(dz) - z * mean(dz * z)) / sqrt(var + epsilon)        with dz = dy * weight

    Args:
        axes: the number of last axes that are normalized together; default 1.
        epsilon: is added to the variance; default 1e-5.
        affine: whether there is a ``weight`` (initially 1), of the shape of these axes; default True.
        bias: whether there is a ``bias`` (0) too; default True. Without ``affine`` there is none.

    Raises:
        ValueError: an argument is out of range, or the input has fewer axes.

    Source: Ba, Kiros, Hinton (2016), arXiv:1607.06450.
    """

    axes: int = 1
    epsilon: float = 1e-5
    affine: bool = True
    bias: bool = True

    def __post_init__(self) -> None:
        set_size(self, "axes")
        set_positive(self, "epsilon")
        set_flag(self, "affine")
        set_flag(self, "bias")

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight`` and ``bias``, of the shape of the last axes, and the input's shape."""
        if len(input_shape) < self.axes:
            raise ValueError(
                f"LayerNorm normalizes the last {self.axes} axes of a row, and one has the shape "
                f"{tuple(input_shape)}"
            )
        shape = tuple(input_shape[-self.axes :])
        return affine_params(shape, self.affine, self.affine and self.bias, rng), input_shape

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return 0: numbers are scaled one by one, and only products of matrices count."""
        return 0

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the normalized input."""
        xp, axes = ctx.xp, tuple(range(-self.axes, 0))
        wide = xp.astype(x, ctx.backend.dtype, copy=False)

        def mean(a: Array) -> Array:
            return xp.mean(a, axis=axes, keepdims=True)

        return affine(params, *standardize(wide, mean, self.epsilon, xp), x.dtype, ctx)
