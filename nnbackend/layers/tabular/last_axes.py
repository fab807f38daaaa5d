"""Parameters with a number for each place of the last axes of a row."""

from __future__ import annotations

from typing import Any

from nnbackend.core import functional
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Context, Params, Shape
from nnbackend.initializers import Ones

__all__ = ["LastAxesWeight", "last_axes", "total_over_rows"]


def last_axes(layer: Any, input_shape: Shape) -> Shape:
    """Return the last ``layer.axes`` sizes of a row.

    Raises:
        ValueError: the row has fewer axes.
    """
    if layer.axes > len(input_shape):
        raise ValueError(
            f"{type(layer).__name__} has a number for each place of the last {layer.axes} axes, and "
            f"rows have the shape {input_shape}"
        )
    return tuple(input_shape[len(input_shape) - layer.axes :])


def total_over_rows(x: Array, axes: int, ctx: Context) -> Array:
    """Return the sum over all but the last axes, in the dtype of ``x``."""
    before = tuple(range(len(x.shape) - axes))
    total = functional.total(x, ctx.xp, before, ctx.backend.dtype)
    return ctx.xp.astype(total, x.dtype, copy=False)


class LastAxesWeight:
    """The base of layers whose ``weight`` has a number for each place of a row's last ``axes`` axes."""

    axes: int

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return ``weight``, and the shape of the input."""
        return {"weight": rng.draw(Ones(), last_axes(self, input_shape), "weight")}, input_shape

    def multiply_adds(self, input_shape: Shape, output_shape: Shape) -> int:
        """Return 0: numbers are scaled one by one, and only products of matrices count."""
        return 0
