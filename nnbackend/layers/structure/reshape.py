"""The same numbers in another shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nnbackend.core.checks import check_items, check_size
from nnbackend.core.types import Array, Context, Shape
from nnbackend.layers.base import Parameterless, register_layer

__all__ = ["Reshape"]


@register_layer
@dataclass(frozen=True)
class Reshape(Parameterless):
    """The numbers of each row in another shape, in the same order.

    Args:
        shape: the new shape of a row, a size or a sequence of sizes; one of them may be -1: what is
            left for it. ``()`` is a single number.

    Raises:
        ValueError: ``shape`` is something else; when the network is built, if the rows hold another
            number of numbers.
    """

    shape: int | Sequence[int]

    def __post_init__(self) -> None:
        one = hasattr(self.shape, "__index__") or isinstance(self.shape, float)
        items = [self.shape] if one else check_items("shape", self.shape, "a sequence of sizes")
        sizes = tuple(-1 if _is_open(n) else check_size("shape", n) for n in items)
        if sizes.count(-1) > 1:
            raise ValueError(f"shape may have one -1, what is left, got {sizes}")
        object.__setattr__(self, "shape", sizes)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the new shape, with a size in the place of -1."""
        sizes: tuple[int, ...] = self.shape  # type: ignore[assignment]
        known, total = math.prod(n for n in sizes if n != -1), math.prod(input_shape)
        found = tuple(total // known if n == -1 else n for n in sizes)
        if math.prod(found) != total:
            raise ValueError(
                f"Reshape({sizes}) takes rows of {'a multiple of ' if -1 in sizes else ''}{known} "
                f"numbers, got the shape {tuple(input_shape)}"
            )
        return found

    def apply(self, x: Array, ctx: Context) -> tuple[Array, Callable[[Array], Array]]:
        """Return the same numbers, a view where the library has them."""
        xp, shape = ctx.xp, tuple(x.shape)
        y = xp.reshape(x, (shape[0], *self.output_shape(shape[1:])))
        return y, lambda dy: xp.reshape(dy, shape)


def _is_open(size: object) -> bool:
    """Return whether this is the -1 that stands for what is left."""
    return hasattr(size, "__index__") and not isinstance(size, bool) and size == -1
