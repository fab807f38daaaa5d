"""Whether the inputs of a graph are numbers or indices, as the layers say which take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nnbackend.core.layer_tree import first_layer
from nnbackend.core.registry import is_built_in
from nnbackend.core.tree import arrays_in
from nnbackend.layers.structure.wiring import Node, node_of

__all__ = ["index_limits", "inputs_taken"]


def inputs_taken(inputs: Sequence[str], order: Sequence[Node]) -> Any:
    """Return ``"numbers"``, ``"indices"``, or a word for each input by name.

    Raises:
        ValueError: two nodes take an input differently; a node takes indices from a layer of the
            library, which computes numbers; or a part of an input, which has none.
    """
    layers = {node.name: node.layer for node in order}
    found: dict[str, tuple[str, Any]] = {}
    for node, place, source in _connections(order):
        takes = _part(getattr(first_layer(node.layer), "takes", "numbers"), place, "numbers")
        if source in layers or node_of(source) in layers:
            if "indices" in arrays_in(takes) and is_built_in(layers[node_of(source)]):
                raise ValueError(
                    f"node {node.name} takes indices, and gets the numbers that node {source} "
                    "computes: let it take an input"
                )
            continue
        if "." in source:
            raise ValueError(f"node {node.name} takes {source!r}: an input has no parts by name")
        first, known = found.setdefault(source, (node.name, takes))
        if known != takes:
            raise ValueError(
                f"the input {source!r} feeds node {first}, which takes {known}, and node "
                f"{node.name}, which takes {takes}: make two inputs of it"
            )
    words = {name: found[name][1] if name in found else "numbers" for name in inputs}
    if all(word == "numbers" for word in words.values()):
        return "numbers"
    return words if len(inputs) > 1 else words[inputs[0]]


def index_limits(takes: Any, inputs: Sequence[str], order: Sequence[Node]) -> Any:
    """Return the smallest number of indices that nodes allow, for each input or for the only one."""
    if takes == "numbers":
        return None
    limits: dict[str, Any] = {}
    for node, place, source in _connections(order):
        limit = getattr(first_layer(node.layer), "index_limit", None)
        limit = _part(limit() if callable(limit) else limit, place, None)
        limits[source] = _smallest(limits.get(source), limit)
    if len(inputs) > 1:
        return {name: limits.get(name) for name in inputs}
    return limits.get(inputs[0])


def _smallest(a: Any, b: Any) -> Any:
    """Return the smaller of two numbers, of trees of several inputs each; None: there is no limit."""
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, dict):
        return {name: _smallest(a[name], b[name]) for name in a}
    if isinstance(a, tuple):
        return tuple(map(_smallest, a, b))
    return min(a, b)


def _connections(order: Sequence[Node]) -> Iterator[tuple[Node, int | None, str]]:
    """Yield each node with the names it takes, and the place of each in its tuple, None of one alone."""
    for node in order:
        for i, source in enumerate(node.sources):
            yield node, (i if len(node.sources) > 1 else None), source


def _part(value: Any, place: int | None, missing: Any) -> Any:
    """Return what a description says of one of several inputs: one that is no tree holds for all."""
    if place is None or not isinstance(value, tuple | dict):
        return value
    values = list(value.values()) if isinstance(value, dict) else value
    return values[place] if place < len(values) else missing
