"""Nested dictionaries of arrays: walk them, map over them, name their leaves with dots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nnbackend.core.types import Array, Arrays, Namespace, Params, Path

__all__ = [
    "arrays_in",
    "count_rows",
    "flatten",
    "leaves",
    "map_arrays",
    "overwrite_arrays",
    "paths",
    "slice_rows",
    "tree_map",
    "unflatten",
]


def paths(tree: Params, prefix: Path = ()) -> Iterator[Path]:
    """Yield the path of every leaf, in order: ``("0", "weight")``, ``("0", "bias")``, ..."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from paths(value, (*prefix, name))
        else:
            yield (*prefix, name)


def at(tree: Params, path: Path) -> Array:
    """Return the leaf at ``path``."""
    value: Any = tree
    for name in path:
        value = value[name]
    return value


def leaves(tree: Params) -> list[Array]:
    """Return the leaves in order."""
    return arrays_in(tree)


def tree_map(function: Callable[..., Any], tree: Params, *others: Params) -> Params:
    """Return a tree of the same nesting with ``function`` applied to each leaf.

    The leaves of ``others`` at the same path are passed along.
    """
    return {
        name: tree_map(function, value, *(other[name] for other in others))
        if isinstance(value, dict)
        else function(value, *(other[name] for other in others))
        for name, value in tree.items()
    }


def flatten(tree: Params, prefix: str = "") -> dict[str, Array]:
    """Return the leaves by dotted name.

    >>> flatten({"0": {"weight": 1, "bias": 2}, "1": {}})
    {'0.weight': 1, '0.bias': 2}
    """
    flat: dict[str, Array] = {}  # filled by a loop: training does this in each step
    for name, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def unflatten(flat: Mapping[str, Array], like: Params, prefix: str = "") -> Params:
    """Return the leaves of ``flat``, nested as ``like`` is (empty branches too), by their names."""
    return {
        name: unflatten(flat, value, f"{prefix}{name}.")
        if isinstance(value, dict)
        else flat[f"{prefix}{name}"]
        for name, value in like.items()
    }


def map_arrays(function: Callable[..., Any], arrays: Arrays, *others: Arrays) -> Arrays:
    """Return inputs or targets with ``function`` applied to each array in them; None stays None.

    Args:
        function: takes an array, and those of ``others`` at the same place.
        arrays: an array, or tuples and dictionaries of arrays, nested in any way.
        others: more trees, nested as ``arrays``.

    >>> map_arrays(lambda a: a + 1, (1, {"meta": 2, "none": None}))
    (2, {'meta': 3, 'none': None})
    """
    if arrays is None:
        return None
    if isinstance(arrays, dict):
        return {
            name: map_arrays(function, value, *(other[name] for other in others))
            for name, value in arrays.items()
        }
    if isinstance(arrays, tuple):
        if not others:
            mapped = [map_arrays(function, part) for part in arrays]
        else:
            mapped = [map_arrays(function, *parts) for parts in zip(arrays, *others, strict=True)]
        return type(arrays)(*mapped) if hasattr(arrays, "_fields") else tuple(mapped)
    return function(arrays, *others)


def arrays_in(arrays: Arrays) -> list[Array]:
    """Return the arrays of inputs or targets in order; None is no array."""
    if not isinstance(arrays, (tuple, dict)):
        return [] if arrays is None else [arrays]
    found: list[Array] = []
    for part in arrays.values() if isinstance(arrays, dict) else arrays:
        if isinstance(part, (tuple, dict)):
            found += arrays_in(part)
        elif part is not None:
            found.append(part)
    return found


def count_rows(arrays: Arrays) -> int:
    """Return the number of rows of inputs or targets: that of the first array."""
    first = arrays if hasattr(arrays, "shape") else arrays_in(arrays)[0]
    return int(first.shape[0])


def slice_rows(arrays: Arrays, start: int, stop: int) -> Arrays:
    """Return rows ``start`` to ``stop`` (not included) of inputs or targets; None stays None."""
    return map_arrays(lambda array: array[start:stop, ...], arrays)


def overwrite_arrays(olds: Sequence[Array], news: Sequence[Array], xp: Namespace) -> None:
    """Write new arrays into old ones, in place; an array that is its own replacement stays.

    A new array that is one of the other old ones is copied before that is written to.
    """
    moved = [(old, new) for old, new in zip(olds, news, strict=True) if new is not old]
    if len(moved) > 1:
        written = {id(old) for old in olds}
        moved = [
            (old, xp.asarray(new, copy=True) if id(new) in written else new) for old, new in moved
        ]
    for old, new in moved:
        old[...] = new


class Unchanged:
    """A test whether a tree still has the same arrays in the same places.

    Args:
        tree: the tree to recognize later; None (the default): no tree is recognized.
    """

    def __init__(self, tree: Params | None = None) -> None:
        self._tree = tree
        self._places = [] if tree is None else list(_places(tree))

    def __call__(self, tree: Params) -> bool:
        """Return whether ``tree`` is that tree, with the same arrays in it."""
        if tree is not self._tree:
            return False
        # A loop, for `all` with a generator takes twice as long.
        for branch, name, value in self._places:  # noqa: SIM110
            if branch[name] is not value:
                return False
        return True


def _places(branch: Params) -> Iterator[tuple[Params, str, Any]]:
    """Yield the places of all branches and leaves: dictionary, name, value."""
    for name, value in branch.items():
        yield branch, name, value
        if isinstance(value, dict):
            yield from _places(value)
