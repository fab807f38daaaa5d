"""Shapes of rows, where a network has several inputs or outputs: trees, nested as the arrays are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from nnbackend.core.checks import check_size
from nnbackend.core.tree import map_arrays
from nnbackend.core.types import Arrays

__all__ = ["Shapes", "check_shapes", "is_shape", "map_shapes", "row_shapes"]

Shapes: TypeAlias = Any
"""The shape of a row, ``(784,)``; or tuples and dictionaries of shapes, nested as the arrays are."""


def is_shape(shapes: Shapes) -> bool:
    """Return whether this is the shape of one array, and not a tree of shapes."""
    if not isinstance(shapes, tuple):
        return False
    for n in shapes:  # a loop, for `any` with a generator takes twice as long  # noqa: SIM110
        if isinstance(n, (tuple, dict)):
            return False
    return True


def map_shapes(function: Callable[[tuple[int, ...]], Any], shapes: Shapes) -> Any:
    """Return a tree of shapes with ``function`` applied to each shape.

    >>> map_shapes(len, {"image": (28, 28), "meta": (3,)})
    {'image': 2, 'meta': 1}
    """
    if isinstance(shapes, dict):
        return {name: map_shapes(function, shape) for name, shape in shapes.items()}
    if is_shape(shapes):
        return function(shapes)
    return tuple(map_shapes(function, shape) for shape in shapes)


def row_shapes(arrays: Arrays) -> Shapes:
    """Return the shape of a row of each array."""
    return map_arrays(lambda array: tuple(array.shape[1:]), arrays)


def check_shapes(name: str, value: Any) -> Shapes:
    """Return a shape or a tree of shapes as tuples and dictionaries, also from the lists of JSON.

    >>> check_shapes("input_shape", {"image": [28, 28], "meta": 3})
    {'image': (28, 28), 'meta': (3,)}

    Args:
        name: its name in messages.
        value: a size, several sizes, or dictionaries and sequences of these. A sequence of sizes
            alone is one shape; of several inputs of one axis each, write ``((3,), (4,))``.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, Mapping):
        return {str(key): check_shapes(f"{name}[{key!r}]", each) for key, each in value.items()}
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | type):
        return (check_size(name, value),)
    items = list(value)
    if any(isinstance(item, Iterable) and not isinstance(item, str | bytes) for item in items):
        return tuple(check_shapes(f"{name}[{i}]", item) for i, item in enumerate(items))
    return tuple(check_size(name, item) for item in items)
