"""The nodes of a graph by name: what they take, in which order they run, what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from nnbackend.core.checks import check_items, check_text, named
from nnbackend.core.frozen_mapping import FrozenMapping
from nnbackend.core.types import Layer
from nnbackend.errors import given, listed, unknown_name
from nnbackend.layers.base import check_layer

__all__ = ["Node", "checked_inputs", "checked_nodes", "checked_outputs", "in_order", "node_of"]

Known: TypeAlias = Mapping[str, Any]
"""Names, among which one of very many is found at once: a file may have a long graph."""

_WANTED = "a layer, or the name of a node whose layer is used again, and the names of its inputs"


@dataclass(frozen=True)
class Node:
    """A node of a graph, ready to run.

    Attributes:
        name: its name.
        layer: its layer.
        owner: the name under which the layer's parameters are: that of the first node that has it.
        use: of a layer that several nodes share, how many of them run before this one.
        sources: the names of its inputs.
    """

    name: str
    layer: Layer
    owner: str
    use: int
    sources: tuple[str, ...]


def node_of(source: str) -> str:
    """Return the input or node that a name means, ``"halves"`` of its part ``"halves.0"``."""
    return source.partition(".")[0]


def checked_inputs(value: Any) -> tuple[str, ...]:
    """Return the names of inputs, one or several, as a tuple.

    Raises:
        TypeError, ValueError: it is something else, none, or a name is there twice.
    """
    names = [value] if isinstance(value, str) else check_items("inputs", value, "names of inputs")
    seen: set[str] = set()
    for i, name in enumerate(names):
        _check_name(f"inputs[{i}]", name)
        if name in seen:
            raise ValueError(f"inputs: {name!r} is there twice")
        seen.add(name)
    if not names:
        raise ValueError("inputs must have a name for each input, got none")
    return tuple(names)


def checked_nodes(value: Any, inputs: tuple[str, ...]) -> FrozenMapping:
    """Return the nodes, each as a tuple of its layer and the names of its inputs.

    Raises:
        TypeError: one of them is something else.
        ValueError: a name is an input's as well, or empty or with a dot, or not known.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"nodes must be a dictionary, each name with {_WANTED}; got {given(value)}")
    taken = set(inputs)
    for name in value:
        _check_name("a name in nodes", name)
        if name in taken:
            raise ValueError(f"nodes: {name!r} is the name of an input, too; give each its own")
    known = dict.fromkeys([*inputs, *value])
    return FrozenMapping.of({n: _checked_node(n, v, known, value) for n, v in value.items()})


def _checked_node(name: str, value: Any, known: Known, nodes: Known) -> tuple[Any, ...]:
    """Return a node as a tuple, checked."""
    what = f"nodes[{name!r}]"
    if not isinstance(value, tuple | list) or len(value) < 2:
        raise TypeError(f"{what} must be {_WANTED}, (layer, 'input', ...); got {given(value)}")
    layer, *sources = value
    if isinstance(layer, str):
        if layer not in nodes:
            raise unknown_name(f"node in {what}, whose layer it uses:", layer, nodes)
    else:
        with named(what):
            check_layer(layer)
    for source in sources:
        if not isinstance(source, str):
            raise TypeError(f"{what} takes names of inputs and nodes; one is {given(source)}")
        _check_known(what, source, known)
    return layer, *sources


def checked_outputs(value: Any, inputs: tuple[str, ...], nodes: FrozenMapping) -> Any:
    """Return the outputs: a name, a tuple of names, or a mapping to names.

    Raises:
        TypeError, ValueError: it is something else, none, or a name is not known.
    """
    known = dict.fromkeys([*inputs, *nodes])
    if isinstance(value, str):
        _check_known("outputs", value, known)
        return value
    if isinstance(value, Mapping):
        for name in value:
            _check_name("a name in outputs", name)
        names = [*value.values()]
    else:
        wanted = "the name of a node, a tuple of names, or a dictionary of names"
        names = check_items("outputs", value, wanted)
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"outputs must be names of nodes; one is {given(name)}")
        _check_known("outputs", name, known)
        if name in seen:
            raise ValueError(f"outputs: {name!r} is there twice")
        seen.add(name)
    if not names:
        raise ValueError("outputs must have a name for each output, got none")
    return FrozenMapping.of(value) if isinstance(value, Mapping) else tuple(names)


def in_order(inputs: tuple[str, ...], nodes: FrozenMapping, outputs: Iterable[str]) -> list[Node]:
    """Return the nodes so that each comes after those that it takes, otherwise in the order given.

    Raises:
        ValueError: nodes depend on each other in a circle, or one leads to no output.
    """
    sources = {name: tuple(node_of(s) for s in spec[1:]) for name, spec in nodes.items()}
    owners: dict[str, str] = {}
    for name in nodes:
        _find_owner(name, nodes, owners)
    wanted = {node_of(name) for name in outputs}
    order: dict[str, None] = {}
    for name in nodes:
        _visit(name, sources, order)
    for name in reversed(order):
        if name in wanted:
            wanted.update(sources[name])
    for kind, names in (("input", inputs), ("node", tuple(nodes))):
        unused = [name for name in names if name not in wanted]
        if unused:
            raise ValueError(
                f"the {kind} {listed(map(repr, unused))} leads to no output: leave it out, or name "
                "what takes it in outputs"
            )
    uses: dict[str, int] = {}
    found = []
    for name in order:
        owner = owners[name]
        uses[owner] = uses.get(owner, -1) + 1
        found.append(Node(name, nodes[owner][0], owner, uses[owner], tuple(nodes[name][1:])))
    return found


def _visit(start: str, sources: Mapping[str, tuple[str, ...]], order: dict[str, None]) -> None:
    """Append a node and all before it to the order, without recursion: a graph may be deep."""
    path = {start: None}
    if start in order:
        return
    pending = [iter(sources[start])]
    while pending:
        source = next(pending[-1], None)
        if source is None:
            pending.pop()
            order[path.popitem()[0]] = None
        elif source in path:
            names = [*path]
            circle = [*names[names.index(source) :], source]
            raise ValueError(f"the nodes go in a circle: {' -> '.join(_short(circle[::-1]))}")
        elif source in sources and source not in order:
            path[source] = None
            pending.append(iter(sources[source]))


def _find_owner(name: str, nodes: FrozenMapping, owners: dict[str, str]) -> None:
    """Add the node that has the layer of a node, which may only name another."""
    path = {name: None}
    while name not in owners and isinstance(nodes[name][0], str):
        name = nodes[name][0]
        if name in path:
            names = " -> ".join(_short([*path, name]))
            raise ValueError(f"nodes use each other's layer and none has one: {names}")
        path[name] = None
    owners.update(dict.fromkeys(path, owners.get(name, name)))


def _short(names: list[str]) -> list[str]:
    """Return names for a message, of very many the first and the last."""
    return names if len(names) <= 40 else [*names[:20], "...", *names[-20:]]


def _check_name(what: str, name: Any) -> None:
    """Refuse a name that is none, or that has a dot: parameters are named by dots."""
    check_text(what, name)
    if "." in name:
        raise ValueError(f"{what} must have no dot in it, got {name!r}")


def _check_known(what: str, source: str, known: Known) -> None:
    """Refuse the name of something that is not there."""
    if node_of(source) not in known:
        raise unknown_name(f"input or node in {what}:", source, known)
