"""Several inputs of a layer: their shapes, and results nested as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnbackend.core.shapes import Shapes, is_shape, map_shapes
from nnbackend.core.tree import map_arrays
from nnbackend.core.types import Array, Arrays, Shape

__all__ = ["nested_like", "shapes_in"]


def shapes_in(input_shape: Shapes, layer: str) -> list[Shape]:
    """Return the shapes of several inputs in order.

    Raises:
        ValueError: it is the shape of one input.
    """
    if is_shape(input_shape):
        raise ValueError(
            f"{layer} takes several inputs, a tuple or a dictionary of arrays, and gets one of shape "
            f"{tuple(input_shape)}"
        )
    found: list[Shape] = []
    map_shapes(found.append, input_shape)
    return found


def nested_like(x: Arrays) -> Callable[[Sequence[Array]], Any]:
    """Return the function that nests arrays as those of ``x``, of which it keeps none."""
    places = map_arrays(lambda _: 0, x)

    def nested(arrays: Sequence[Array]) -> Any:
        following = iter(arrays)
        return map_arrays(lambda _: next(following), places)

    return nested
