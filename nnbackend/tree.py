"""Nested dictionaries of arrays: walk them, map over them, name their leaves with dots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nnbackend.types import Array, Params

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
