"""Layers that are connected in any way, with named inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from nnbackend.core.checks import check_arrays
from nnbackend.core.layer_tree import count_layers, init_state, is_stateful
from nnbackend.core.random import Generator, ShapeGenerator
from nnbackend.core.shapes import Shapes, check_shapes
from nnbackend.core.tree import flatten
from nnbackend.core.types import Arrays, Backward, Context, Layer, Params, State
from nnbackend.errors import listed
from nnbackend.layers.base import not_a_pair, register_layer
from nnbackend.layers.structure.gradients import Arriving, add_grads, part_of, zeros_like
from nnbackend.layers.structure.takes import index_limits, inputs_taken
from nnbackend.layers.structure.wiring import (
    Node,
    checked_inputs,
    checked_nodes,
    checked_outputs,
    in_order,
    node_of,
)

__all__ = ["Graph"]


@register_layer
@dataclass(frozen=True)
class Graph:
    """Layers that are connected in any way without circles, with named inputs and outputs.

    Each node is a layer and the names of what it takes, inputs or other nodes; a layer that takes
    several gets them as a tuple. Forward runs the nodes so that each comes after those that it takes,
    backward in reverse. Where something is taken several times, its gradients are added.

    >>> Graph(
    ...     inputs=("image", "table"),
    ...     nodes={
    ...         "seen": (Flatten(), "image"),
    ...         "both": (Concatenate(), "seen", "table"),
    ...         "price": (Dense(1), "both"),
    ...     },
    ...     outputs="price",
    ... )

    Args:
        inputs: the name of each input, a text or a sequence of texts. The layer takes a dictionary of
            arrays by these names, or a tuple in their order; of one input also the array itself.
        nodes: a dictionary of nodes by name, ``(layer, input, ...)``, in any order. A node with the name
            of another one in the place of a layer shares its layer: both have the same parameters, whose
            gradients are added, and the same state; each has its own random numbers. Parameters are
            named by the node that has the layer. ``"halves.0"`` is the first part of the output of a
            node ``"halves"`` that gives a tuple, ``"halves.left"`` a part of a dictionary.
        outputs: the outputs: a name gives its array, a tuple of names a tuple in that order, and a
            dictionary ``{"price": "node"}`` a dictionary of arrays.

    Raises:
        TypeError: something is no layer or no name.
        ValueError: a name is not known, there twice, or has a dot; nodes go in a circle, of which the
            message has the path; an input or a node leads to no output; an input feeds a layer that
            takes indices and one that does not. When the network is built: an input is missing, shapes
            do not fit, or a shared layer would need parameters of another shape.
    """

    inputs: str | Sequence[str]
    nodes: Mapping[str, Sequence[Any]]
    outputs: str | Sequence[str] | Mapping[str, str]

    def __post_init__(self) -> None:
        inputs = checked_inputs(self.inputs)
        nodes = checked_nodes(self.nodes, inputs)
        outputs = checked_outputs(self.outputs, inputs, nodes)
        for name, value in (("inputs", inputs), ("nodes", nodes), ("outputs", outputs)):
            object.__setattr__(self, name, value)
        order = in_order(inputs, nodes, self.output_nodes.values())
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_takes", inputs_taken(inputs, order))

    @property
    def order(self) -> list[Node]:
        """The nodes in the order in which they run."""
        return self._order  # type: ignore[attr-defined,no-any-return]

    @property
    def takes(self) -> Any:
        """Whether inputs are numbers or indices: a word for all, or one for each name."""
        return self._takes  # type: ignore[attr-defined]

    def index_limit(self) -> Any:
        """Return the number of indices of the inputs that are indices, as ``takes`` is nested."""
        return index_limits(self._takes, self.inputs, self.order)  # type: ignore[attr-defined]

    @property
    def output_nodes(self) -> dict[str, str]:
        """The outputs by name: those of a tuple are named as what they are, of a dictionary by its keys.

        One output, which is no tuple, has the name of its node.
        """
        outputs: Any = self.outputs
        if isinstance(outputs, Mapping):
            return dict(outputs)
        return {name: name for name in ((outputs,) if isinstance(outputs, str) else outputs)}

    @cached_property
    def _partly_taken(self) -> frozenset[str]:
        """The nodes of whose outputs someone takes a part."""
        named = [source for node in self.order for source in node.sources]
        return frozenset(node_of(s) for s in [*named, *self.output_nodes.values()] if "." in s)

    @property
    def layer_count(self) -> int:
        """How many layers run, one that is shared as often as it is named."""
        return 1 + sum(count_layers(node.layer) for node in self.order)

    def named_children(self) -> list[tuple[str, Layer]]:
        """Return the nodes' layers by name, one that is shared once, in the order of ``nodes``."""
        return [(n, spec[0]) for n, spec in self.nodes.items() if not isinstance(spec[0], str)]

    def with_children(self, function: Callable[[str, Layer], Layer]) -> Graph:
        """Return the graph with ``function(name, layer)`` for each layer; the same if all stay."""
        new = {name: function(name, layer) for name, layer in self.named_children()}
        if all(self.nodes[name][0] is layer for name, layer in new.items()):
            return self
        nodes = {
            name: (new.get(name, layer), *sources) for name, (layer, *sources) in self.nodes.items()
        }
        return replace(self, nodes=nodes)

    def init(self, input_shape: Shapes, rng: Generator) -> tuple[Params, Shapes]:
        """Return the parameters of each layer by its node, and the shape or shapes of the outputs."""
        found: Params = {}
        shapes = self._run_shapes(input_shape, rng, found)
        params = {name: found[name] for name, _ in self.named_children()}
        return params, _select(self.outputs, shapes)

    def init_state(self, input_shape: Shapes) -> State:
        """Return the state of the layers that have one, by their nodes."""
        states: State = {}
        if is_stateful(self):
            self._run_shapes(input_shape, ShapeGenerator((0, 0)), {}, states)
        return states

    def node_shapes(self, input_shape: Shapes) -> dict[str, Shapes]:
        """Return the shape of each input and of each node's output, or a tree of shapes, by name."""
        return self._run_shapes(input_shape, ShapeGenerator((0, 0)), {})

    def _run_shapes(
        self, input_shape: Shapes, rng: Generator, params: Params, states: State | None = None
    ) -> dict[str, Shapes]:
        """Return the shape of each input and node; fill in the parameters, and the states if asked."""
        shapes = self._by_name(input_shape)
        sizes: dict[str, Any] = {}
        for node in self.order:
            given = _taken(node, shapes)
            own = rng.child(node.owner) if node.name == node.owner else ShapeGenerator((0, 0))
            what = f"node {node.name} ({type(node.layer).__name__})"
            try:
                found = node.layer.init(given, own)
            except ValueError as error:
                raise ValueError(f"{what}: {error}") from error
            try:
                made, shape = found
            except (TypeError, ValueError):
                wanted = "init returns (params, output_shape)"
                raise not_a_pair(found, node.layer, node.name, wanted) from None
            check_arrays(f"{what}: params of init", made)
            shapes[node.name] = check_shapes(f"{what}: output_shape of init", shape)
            _check_same_sizes(node, made, sizes)
            if node.name == node.owner:
                params[node.name] = made
                if states is not None and (state := init_state(node.layer, given)):
                    states[node.name] = state
        return shapes

    def _by_name(self, given: Any) -> dict[str, Any]:
        """Return inputs, or their shapes, by name."""
        names: tuple[str, ...] = self.inputs  # type: ignore[assignment]
        if isinstance(given, dict):
            if len(given) != len(names) or any(name not in given for name in names):
                missing = [name for name in names if name not in given]
                unknown = [name for name in given if name not in names]
                raise ValueError(
                    f"the graph takes the inputs {listed(map(repr, names))}"
                    + (f"; missing: {listed(map(repr, missing))}" if missing else "")
                    + (f"; unknown: {listed(map(repr, unknown))}" if unknown else "")
                )
            return {name: given[name] for name in names}
        if len(names) == 1:
            return {names[0]: given}
        if not isinstance(given, tuple) or len(given) != len(names) or not _is_several(given):
            got = f"{len(given)}" if isinstance(given, tuple) and _is_several(given) else "one"
            raise ValueError(
                f"the graph takes {len(names)} inputs, a dictionary of {listed(map(repr, names))}; "
                f"got {got}"
            )
        return dict(zip(names, given, strict=True))

    def forward(self, params: Params, x: Arrays, ctx: Context) -> tuple[Arrays, Backward]:
        """Run the nodes in order."""
        xp, order = ctx.xp, self.order
        values = self._by_name(x)
        learns = dict.fromkeys(values, False)  # whether something up to there has parameters
        backwards: dict[str, Backward] = {}
        kept: dict[str, Arrays] = {}  # outputs of which zeros may be needed
        for node in order:
            name = node.name
            passed = node.layer.forward(
                params[node.owner], _taken(node, values), ctx.child(node.owner, node.use)
            )
            try:
                y, backwards[name] = passed
            except (TypeError, ValueError):
                wanted = "forward returns (y, backward)"
                raise not_a_pair(passed, node.layer, name, wanted) from None
            values[name] = y
            if name in self._partly_taken or isinstance(y, tuple | dict):
                kept[name] = y
            learns[name] = bool(flatten(params[node.owner])) or any(
                learns[node_of(source)] for source in node.sources
            )
        y = _select(self.outputs, values)
        names, like, known = tuple(self.inputs), _Nesting.of(x), tuple(values)

        def backward(dy: Arrays, input_grad: bool = True) -> tuple[Arrays | None, Params]:
            grads: Params = {name: {} for name, _ in self.named_children()}
            arriving = {name: Arriving() for name in known}
            _add(arriving, self.outputs, dy)
            for node in reversed(order):
                if not (input_grad or learns[node.name]):
                    continue
                own = params[node.owner]
                dz = arriving.pop(node.name).total(kept.get(node.name), xp)
                if dz is None:  # what takes it has no derivative
                    grads[node.owner] = grads[node.owner] or zeros_like(own, xp)
                    continue
                passes_on = input_grad or any(learns[node_of(source)] for source in node.sources)
                passed = backwards[node.name](dz, input_grad=passes_on)
                try:
                    dx, found = passed
                except (TypeError, ValueError):
                    wanted = "its backward pass returns (dx, grads)"
                    raise not_a_pair(passed, node.layer, node.name, wanted) from None
                grads[node.owner] = add_grads(grads[node.owner], found)
                if passes_on:
                    _add(arriving, node.sources if len(node.sources) > 1 else node.sources[0], dx)
            if not input_grad:
                return None, grads
            return like.nested({name: arriving[name].total(None, xp) for name in names}), grads

        return y, backward


@dataclass(frozen=True)
class _Nesting:
    """How inputs were given, so that their gradients come back alike."""

    keys: tuple[str, ...] | None

    @classmethod
    def of(cls, x: Arrays) -> _Nesting:
        return cls(tuple(x) if isinstance(x, dict) else None)

    def nested(self, parts: dict[str, Arrays]) -> Arrays:
        if self.keys is not None:
            return {name: parts[name] for name in self.keys}
        values = tuple(parts.values())
        return values if len(values) > 1 else values[0]


def _taken(node: Node, values: Mapping[str, Any]) -> Any:
    """Return what a node takes, arrays or shapes: of several sources a tuple."""
    if len(node.sources) == 1 and "." not in node.sources[0]:  # most often
        return values[node.sources[0]]
    found = []
    for source in node.sources:
        try:
            found.append(part_of(values[node_of(source)], source))
        except (KeyError, IndexError, ValueError, TypeError):
            raise ValueError(
                f"node {node.name} takes {source!r}, and {node_of(source)!r} has no such part"
            ) from None
    return tuple(found) if len(found) > 1 else found[0]


def _select(outputs: Any, values: Mapping[str, Any]) -> Any:
    """Return what outputs name, nested as they are."""
    if isinstance(outputs, str):
        try:
            return part_of(values[node_of(outputs)], outputs)
        except (KeyError, IndexError, ValueError, TypeError):
            raise ValueError(
                f"outputs: {outputs!r} is not there: {node_of(outputs)!r} has no such part"
            ) from None
    if isinstance(outputs, Mapping):
        return {name: _select(source, values) for name, source in outputs.items()}
    return tuple(_select(source, values) for source in outputs)


def _add(arriving: Mapping[str, Arriving], sources: Any, gradients: Arrays) -> None:
    """Add gradients to what they are of, nested alike; None: none of them has one."""
    if gradients is None:
        return
    if isinstance(sources, str):
        arriving[node_of(sources)].add(sources, gradients)
    elif isinstance(sources, Mapping):
        for name, source in sources.items():
            _add(arriving, source, gradients[name])
    else:
        for source, gradient in zip(sources, gradients, strict=True):
            _add(arriving, source, gradient)


def _is_several(given: tuple[Any, ...]) -> bool:
    """Return whether a tuple is of arrays or shapes, and not one shape."""
    return not all(isinstance(part, int) for part in given)


def _check_same_sizes(node: Node, made: Params, sizes: dict[str, Any]) -> None:
    """Refuse a shared layer whose parameters would have another shape in one of its places."""
    own = {name: tuple(p.shape) for name, p in flatten(made).items()}
    first, known = sizes.setdefault(node.owner, (node.name, own))
    for name, shape in known.items():
        if own.get(name) != shape:
            raise ValueError(
                f"nodes {first} and {node.name} share a layer, whose {name} would have the shape "
                f"{shape} in the one and {own.get(name)} in the other: their inputs must be alike"
            )
