"""The axes of each row in another order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nnbackend.core.checks import check_items, check_size
from nnbackend.core.types import Array, Context, Shape
from nnbackend.layers.base import Parameterless, register_layer

__all__ = ["Permute"]


@register_layer
@dataclass(frozen=True)
class Permute(Parameterless):
    """The axes of each row in another order: the axis ``i`` of the output is ``axes[i]`` of the input.

    ``Permute((2, 0, 1))`` brings channels from the end to the front.

    Args:
        axes: all axes of a row, each once; 0 is the first after the batch.

    Raises:
        ValueError: ``axes`` is something else; when the network is built, if rows have another number of
            axes.
    """

    axes: Sequence[int]

    def __post_init__(self) -> None:
        items = check_items("axes", self.axes, "a sequence of axes")
        axes = tuple(check_size(f"axes[{i}]", axis, least=0) for i, axis in enumerate(items))
        if sorted(axes) != list(range(len(axes))) or not axes:
            raise ValueError(f"axes must be 0 to n - 1 in some order, each once; got {axes}")
        object.__setattr__(self, "axes", axes)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the sizes in the new order."""
        if len(input_shape) != len(self.axes):
            raise ValueError(
                f"Permute({self.axes}) takes rows of {len(self.axes)} axes, got the shape "
                f"{tuple(input_shape)}"
            )
        return tuple(input_shape[axis] for axis in self.axes)

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Return the input with moved axes, a view where the library has them."""
        xp, axes = ctx.xp, (0, *(axis + 1 for axis in self.axes))
        back = tuple(axes.index(i) for i in range(len(axes)))
        return xp.permute_dims(x, axes), lambda dy: xp.permute_dims(dy, back)
