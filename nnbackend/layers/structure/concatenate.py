"""Several inputs joined along an axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import ClassVar

from nnbackend.core.shapes import Shapes
from nnbackend.core.tree import arrays_in
from nnbackend.core.types import Array, Arrays, Context, Shape
from nnbackend.layers.base import Parameterless, register_layer
from nnbackend.layers.structure.axes import check_axis, place_of
from nnbackend.layers.structure.several import nested_like, shapes_in

__all__ = ["Concatenate"]


@register_layer
@dataclass(frozen=True)
class Concatenate(Parameterless):
    """Several inputs joined along an axis: ``y = [a b ...]``; each gets its part of ``dy``.

    The input is a tuple or a dictionary of arrays, (batch, ..., n_i, ...) each; the output has the
    shape (batch, ..., sum of n_i, ...).

    Args:
        axis: the axis along which they are joined, an axis of a row: 0 is the first after the batch, -1
            (the default) the last.

    Raises:
        ValueError: ``axis`` is no whole number. When the network is built: there is one input only, or
            the shapes differ in another axis.
    """

    takes: ClassVar[str] = "numbers"  # of each input
    axis: int = -1

    def __post_init__(self) -> None:
        check_axis(self, "axis")

    def output_shape(self, input_shape: Shapes) -> Shape:
        """Return the shape of the joined row."""
        shapes = shapes_in(input_shape, "Concatenate")
        axis = place_of(self.axis, shapes[0], "Concatenate")
        others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
        if len(others) > 1 or any(len(shape) != len(shapes[0]) for shape in shapes):
            raise ValueError(
                f"Concatenate(axis={self.axis}) takes inputs that differ in that axis alone, got "
                f"the shapes {', '.join(map(str, shapes))}"
            )
        total = sum(shape[axis] for shape in shapes)
        return (*shapes[0][:axis], total, *shapes[0][axis + 1 :])

    def apply(self, x: Arrays, ctx: Context) -> tuple[Array, Callable[[Array], Arrays]]:
        """Return the inputs side by side, and the function that cuts ``dy`` apart."""
        arrays = arrays_in(x)
        axis = place_of(self.axis, arrays[0].shape[1:], "Concatenate") + 1
        ends = [0, *accumulate(array.shape[axis] for array in arrays)]
        before, like = (slice(None),) * axis, nested_like(x)

        def backward(dy: Array) -> Arrays:
            return like([dy[(*before, slice(*part), ...)] for part in pairwise(ends)])

        return ctx.xp.concat(arrays, axis=axis), backward
