"""One input divided into several outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from nnbackend.core.checks import check_items, check_size
from nnbackend.core.types import Array, Context, Shape
from nnbackend.layers.base import Parameterless, register_layer
from nnbackend.layers.structure.axes import check_axis, place_of

__all__ = ["MAX_PARTS", "Split"]

MAX_PARTS = 10_000
"""More than any network needs; a file must not ask for so many in a few words."""


@register_layer
@dataclass(frozen=True)
class Split(Parameterless):
    """One input divided along an axis: a tuple of arrays, whose gradients are joined.

    A node of a :class:`Graph` takes one of them as ``"name.0"``, ``"name.1"``, ...

    Args:
        parts: how many parts of equal size, a whole number; or the size of each part.
        axis: the axis that is divided, an axis of a row: 0 is the first after the batch, -1 (the
            default) the last.

    Raises:
        ValueError: ``parts`` or ``axis`` is something else, or there are more than 10,000 parts; when
            the network is built, if the parts do not make up the axis.
    """

    parts: int | Sequence[int]
    axis: int = -1

    def __post_init__(self) -> None:
        check_axis(self, "axis")
        if hasattr(self.parts, "__index__") or isinstance(self.parts, float):
            count = check_size("parts", self.parts)
            if count > MAX_PARTS:
                raise ValueError(f"parts must be {MAX_PARTS:,} or fewer, got {count}")
            parts: int | tuple[int, ...] = count
        else:
            items = check_items("parts", self.parts, "a number of parts, or the size of each")
            parts = tuple(check_size(f"parts[{i}]", size) for i, size in enumerate(items))
            if not parts:
                raise ValueError("parts must be a number of parts, or the size of each; got none")
        object.__setattr__(self, "parts", parts)

    def _sizes(self, shape: Shape) -> tuple[int, tuple[int, ...]]:
        """Return the axis, and the size of each part of a row of some shape."""
        axis, parts = place_of(self.axis, shape, "Split"), self.parts
        sizes = (shape[axis] // parts,) * parts if isinstance(parts, int) else tuple(parts)
        if sum(sizes) != shape[axis] or 0 in sizes:
            wanted = f"{parts} equal parts" if isinstance(parts, int) else f"parts of {sizes}"
            raise ValueError(f"Split cannot divide an axis of {shape[axis]} into {wanted}")
        return axis, sizes

    def output_shape(self, input_shape: Shape) -> tuple[Shape, ...]:  # type: ignore[override]
        """Return the shape of each part."""
        axis, sizes = self._sizes(input_shape)
        return tuple((*input_shape[:axis], n, *input_shape[axis + 1 :]) for n in sizes)

    def apply(
        self, x: Array, ctx: Context
    ) -> tuple[tuple[Array, ...], Callable[[tuple[Array, ...]], Array]]:
        """Return the parts, views where the library has them."""
        axis, sizes = self._sizes(tuple(x.shape[1:]))
        ends, before = [0, *accumulate(sizes)], (slice(None),) * (axis + 1)
        y = tuple(x[(*before, slice(*part), ...)] for part in pairwise(ends))
        return y, lambda dy: ctx.xp.concat(list(dy), axis=axis + 1)
