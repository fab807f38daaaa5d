"""Root mean square normalization."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.core.checks import set_flag, set_positive, set_size
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Params, Shape
from nnbackend.layers.base import register_layer
from nnbackend.layers.normalization.affine import affine, affine_params

__all__ = ["RMSNorm"]


@register_layer
@dataclass(frozen=True)
class RMSNorm:
    """Root mean square normalization: ``y = weight * z`` with ``z = x / sqrt(mean(x**2) + epsilon)``.

    The mean is over the last axes. As LayerNorm, without taking away the mean, and so faster::

        dweight = sum(dy * z)        (over all other axes)
        dx      = (dz - z * mean(dz * z)) / sqrt(mean(x**2) + epsilon)        with dz = dy * weight

    Args:
        axes: the number of last axes that are normalized together; default 1.
        epsilon: is added to the mean square; default 1e-6. (PyTorch takes the smallest number that can
            be added to 1, of the dtype.)
        affine: whether there is a ``weight`` (initially 1), of the shape of these axes; default True.

    Raises:
        ValueError: an argument is out of range, or the input has fewer axes.

    Source: Zhang, Sennrich (2019), arXiv:1910.07467.
    """

    axes: int = 1
    epsilon: float = 1e-6
    affine: bool = True

    def __post_init__(self) -> None:
        set_size(self, "axes")
        set_positive(self, "epsilon")
        set_flag(self, "affine")

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight``, of the shape of the last axes, and the input's shape."""
        if len(input_shape) < self.axes:
            raise ValueError(
                f"RMSNorm normalizes the last {self.axes} axes of a row, and one has the shape "
                f"{tuple(input_shape)}"
            )
        return affine_params(tuple(input_shape[-self.axes :]), self.affine, False, rng), input_shape

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the normalized input."""
        xp, axes, dtype = ctx.xp, tuple(range(-self.axes, 0)), x.dtype
        x = xp.astype(x, ctx.backend.dtype, copy=False)
        inverse = 1.0 / xp.sqrt(xp.mean(x * x, axis=axes, keepdims=True) + self.epsilon)
        z = x * inverse

        def z_backward(dz: Array) -> Array:
            dx = dz - z * xp.mean(dz * z, axis=axes, keepdims=True)
            dx *= inverse
            return dx

        return affine(params, z, z_backward, dtype, ctx)
