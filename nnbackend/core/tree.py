"""Nested dictionaries of arrays: walk them, map over them, name their leaves with dots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nnbackend.core.types import Array, Params

__all__ = ["flatten", "leaves", "paths", "tree_map", "unflatten"]

Path = tuple[str, ...]


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
    return [at(tree, path) for path in paths(tree)]


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


def flatten(tree: Params) -> dict[str, Array]:
    """Return the leaves by dotted name.

    >>> flatten({"0": {"weight": 1, "bias": 2}, "1": {}})
    {'0.weight': 1, '0.bias': 2}
    """
    return {".".join(path): at(tree, path) for path in paths(tree)}


def unflatten(flat: Mapping[str, Array], like: Params, prefix: str = "") -> Params:
    """Return the leaves of ``flat``, nested as ``like`` is (empty branches included)."""
    return {
        name: unflatten(flat, value, f"{prefix}{name}.")
        if isinstance(value, dict)
        else flat[f"{prefix}{name}"]
        for name, value in like.items()
    }


class Unchanged:
    """Tells whether a tree has the very arrays that it had, at the same places.

    Args:
        tree: what it is asked about later.
    """

    def __init__(self, tree: Params | None = None) -> None:
        self._tree = tree
        self._places = [] if tree is None else list(_places(tree))

    def __call__(self, tree: Params) -> bool:
        """Return whether it is that tree, with the same arrays in it."""
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
