"""Sums of gradients where what was computed once is used several times."""

from __future__ import annotations

from typing import Any

from nnbackend.core.tree import map_arrays, tree_map
from nnbackend.core.types import Array, Arrays, Namespace, Params

__all__ = ["Arriving", "add_grads", "part_of", "zeros_like"]


def part_of(arrays: Arrays, source: str) -> Arrays:
    """Return what a name means of a node's output: all of it, or of ``"halves.0"`` the first part.

    ``arrays`` may be a tree of shapes as well.

    Raises:
        KeyError, IndexError, ValueError: there is no such part.
    """
    for key in source.split(".")[1:]:
        arrays = arrays[key] if isinstance(arrays, dict) else arrays[int(key)]
        if isinstance(arrays, int):  # a length: it was the shape of one array
            raise KeyError(key)
    return arrays


def add_grads(a: Params, b: Params) -> Params:
    """Return the sum of the gradients of parameters that two layers share."""
    return tree_map(lambda x, y: x + y, a, b) if a else b


def zeros_like(tree: Params, xp: Namespace) -> Params:
    """Return zeros as the arrays of nested dictionaries."""
    return tree_map(xp.zeros_like, tree)


class Arriving:
    """The gradients that arrive at one output from all that took it or a part of it."""

    def __init__(self) -> None:
        self._whole: Arrays = None
        self._parts: dict[tuple[str, ...], Array] = {}

    def add(self, source: str, gradient: Arrays) -> None:
        """Add the gradient of what ``source`` names; None where there is none."""
        if gradient is None:
            return
        path = tuple(source.split(".")[1:])
        if path:
            self._parts[path] = _sum(self._parts.get(path), gradient)
        else:
            self._whole = _sum(self._whole, gradient)

    def total(self, output: Arrays, xp: Namespace) -> Arrays:
        """Return the gradient of the whole output, with zeros for the parts that nobody took.

        None: no gradient arrived. ``output`` is looked at only where parts were taken, or if it is a
        tree, of which a part may have no gradient.
        """
        found = self._whole
        for path, gradient in self._parts.items():
            found = _sum(found, _with_part(output, path, gradient))
        return found if found is None or output is None else _filled(found, output, xp)


def _sum(a: Arrays, b: Arrays) -> Arrays:
    """Return the sum of two trees of gradients; None counts as zero."""
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, dict):
        return {name: _sum(value, b[name]) for name, value in a.items()}
    if isinstance(a, tuple):
        return tuple(_sum(x, y) for x, y in zip(a, b, strict=True))
    return a + b


def _with_part(output: Arrays, path: tuple[str, ...], gradient: Arrays) -> Arrays:
    """Return a tree as the output with a gradient at one place, and None elsewhere."""
    if not path:
        return gradient
    keys: Any = list(output) if isinstance(output, dict) else [str(i) for i in range(len(output))]
    parts = {
        key: _with_part(part_of(output, f".{key}"), path[1:], gradient) if key == path[0] else None
        for key in keys
    }
    return parts if isinstance(output, dict) else tuple(parts.values())


def _filled(gradient: Arrays, output: Arrays, xp: Namespace) -> Arrays:
    """Return a gradient with zeros where it has none."""
    if gradient is None:
        return map_arrays(xp.zeros_like, output)
    if isinstance(output, dict):
        return {name: _filled(gradient[name], value, xp) for name, value in output.items()}
    if isinstance(output, tuple):
        return tuple(_filled(g, o, xp) for g, o in zip(gradient, output, strict=True))
    return gradient
