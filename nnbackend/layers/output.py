"""The end of a network: its output activation, which a loss may contain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeGuard

from nnbackend import activations
from nnbackend.activations import Identity, LogSoftmax, Sigmoid, Softmax, Sparsemax
from nnbackend.core.layer_tree import children
from nnbackend.core.registry import is_built_in
from nnbackend.core.types import Layer
from nnbackend.layers.activation import Activation
from nnbackend.layers.alpha_dropout import AlphaDropout
from nnbackend.layers.convolution.base import ConvolutionLayer
from nnbackend.layers.dense import Dense
from nnbackend.layers.dropout import Dropout
from nnbackend.layers.flatten import Flatten
from nnbackend.layers.gaussian_noise import GaussianNoise
from nnbackend.layers.output_activations import OutputActivations
from nnbackend.layers.pooling.base import SpatialLayer
from nnbackend.layers.regularization import DropBlock, DropPath, SpatialDropout
from nnbackend.layers.sequential import Sequential, runs_in_order
from nnbackend.layers.structure import (
    Add,
    Average,
    Checkpoint,
    Concatenate,
    Graph,
    Multiply,
    Parallel,
    Permute,
    Reshape,
    Split,
)
from nnbackend.layers.structure.wiring import Node, node_of
from nnbackend.layers.tabular import MemberMean, Replicate

__all__ = [
    "is_removable",
    "last_graph",
    "makes_outputs",
    "output_activation",
    "output_activations",
    "output_names",
    "split_output_activation",
    "split_output_activations",
    "without_output_activations",
]

_DROPS = Dropout | AlphaDropout | SpatialDropout | DropPath | DropBlock
_MERGES = Add | Average | Concatenate | Multiply
_OF_MEMBERS = Replicate | MemberMean
_CHANGES = (
    _DROPS
    | GaussianNoise
    | Flatten
    | Reshape
    | Permute
    | Split
    | SpatialLayer
    | _MERGES
    | _OF_MEMBERS
)
"""Layers that hand on what an activation gave, changed in some way; pooling and resizing too."""
_OF_CLASSES = Softmax | LogSoftmax | Sparsemax


def output_activation(layers: Layer) -> tuple[Any, str | None]:
    """Return the activation that layers end in, and where it is if it cannot be taken off.

    Layers in nested Sequentials count as one row, and layers that never do anything are passed over.
    An activation cannot be taken off if it is followed by a layer (in training, dropout and noise
    change its outputs; Flatten makes other rows of them), or inside a layer that may do
    anything with the activation's outputs: a composite, or a subclass that overrides the forward pass.
    Such a layer may name its output activation in an attribute ``output_activation``, a name or None.
    Of a Graph it is that of the node which is the output, or of those before one that hands on what it
    gets. With several outputs there is none: see :func:`output_activations`.
    """
    where = None
    for last in reversed(_in_a_row(layers)):
        if _does_nothing(last):
            continue
        name = type(last).__name__
        if _hands_on(last):
            where = where or f"followed by {name}"
        elif _is_graph(last):
            if not isinstance(last.outputs, str):
                return Identity(), None
            activation, place = _end_of(last, last.outputs)
            return activation, where or place
        elif isinstance(last, Dense) and type(last).forward is Dense.forward:
            return last.activation, where
        elif isinstance(last, ConvolutionLayer) and _is_own(last):
            if last.channels == "first" and isinstance(last.activation, _OF_CLASSES):
                where = where or "of channels that are not the last axis"
            return last.activation, where
        elif isinstance(last, Activation) and not _overrides(last):
            return last.function, where
        else:
            return _inside(last), f"inside {name}"
    return Identity(), None


def last_graph(layers: Layer) -> Graph | None:
    """Return the Graph with several outputs that a network ends in, or None."""
    for last in reversed(_in_a_row(layers)):
        if not _does_nothing(last):
            return last if _is_graph(last) and not isinstance(last.outputs, str) else None
    return None


def output_names(layers: Layer) -> tuple[str, ...]:
    """Return the names of the several outputs of a Graph at the end, which may be a tuple; else ()."""
    graph = last_graph(layers)
    return () if graph is None else tuple(graph.output_nodes)


def output_activations(layers: Layer) -> dict[str, tuple[Any, str | None]]:
    """Return :func:`output_activation` for each of the several outputs of a Graph at the end, by name.

    The names are those of the nodes in a tuple ``outputs``, or the keys of a dictionary. Another layer
    with several outputs may name their activations in an attribute ``output_activations``, a mapping
    of names, or a tuple where the outputs are one (their names are their numbers); or it has those of
    its last layer inside. They cannot be taken off. {} for a network with one output, or where
    nothing is known.
    """
    graph = last_graph(layers)
    if graph is not None:
        return {n: _end_of(graph, s) for n, s in graph.output_nodes.items()}
    row = _in_a_row(layers)
    while row and _does_nothing(row[-1]):
        row.pop()
    if not row:
        return {}
    last = row[-1]
    if isinstance(last, Split):
        return _of_parts(last, output_activation(Sequential(row[:-1]))[0])
    if _is_graph(last) and isinstance(last.outputs, str):
        node = _nodes(last).get(last.outputs)
        if node is not None and isinstance(node.layer, Split):
            return _of_parts(node.layer, _end_of(last, last.outputs)[0])
    ends = _declared(last)
    if ends and _hands_on(last):  # a Split in something
        activation, _ = output_activation(Sequential(row[:-1]))
        return {name: (activation, f"followed by {type(last).__name__}") for name in ends}
    return ends


def _of_parts(layer: Split, activation: Any) -> dict[str, tuple[Any, str | None]]:
    """Return the activation of the outputs of a Split, of each by its number."""
    count = layer.parts if isinstance(layer.parts, int) else len(layer.parts)
    return {str(i): (activation, "followed by Split") for i in range(count)}


def _declared(layer: Layer) -> dict[str, tuple[Any, str | None]]:
    """Return the activations of the outputs of a layer as it says, or of its last layer inside."""
    where = f"inside {type(layer).__name__}"
    said: Any = getattr(layer, "output_activations", None)
    if said is not None:
        pairs = said.items() if isinstance(said, Mapping) else enumerate(said)
        return {str(name): (activations.get(ending), where) for name, ending in pairs}
    inside = [child for _, child in children(layer)]
    if isinstance(layer, Checkpoint):
        inside = [Sequential(inside)]
    ends = output_activations(inside[-1]) if inside else {}
    return {name: (activation, where) for name, (activation, _) in ends.items()}


def without_output_activations(layers: Layer, names: Collection[str]) -> Layer:
    """Return layers that end in a Graph, without the activations of the outputs with such names.

    Each must be one that can be taken off, as :func:`output_activations` says.
    """
    if runs_in_order(layers):
        return _with_last(layers, lambda last: without_output_activations(last, names))
    assert isinstance(layers, Graph)
    nodes = [layers.output_nodes[name] for name in names]
    return layers.with_children(
        lambda name, layer: _without_activation(layer) if name in nodes else layer
    )


def makes_outputs(layers: Layer) -> bool:
    """Return whether outputs surely are new arrays, neither what the layers were given nor views."""
    for last in reversed(_in_a_row(layers)):
        if isinstance(last, Dense):
            return type(last).forward is Dense.forward
        if isinstance(last, _MERGES):
            return _is_own(last)
        if _is_graph(last) and isinstance(last.outputs, str):
            node = _nodes(last).get(last.outputs)
            return node is not None and makes_outputs(node.layer)
        own = isinstance(last, Activation) and not _overrides(last) and is_built_in(last)
        if own and not _does_nothing(last):
            return True
        if not own and not isinstance(last, _CHANGES):
            return False
    return False


def split_output_activation(layers: Layer) -> tuple[Layer, Any]:
    """Return the layers without the activation at the very end, and that activation.

    One that is not at the very end stays: then the second is the identity. Of several outputs it is
    those of all, as :class:`~nnbackend.layers.output_activations.OutputActivations`.
    """
    ends = output_activations(layers)
    if ends:
        return split_output_activations(layers, [n for n, end in ends.items() if is_removable(end)])
    activation, where = output_activation(layers)
    if where is not None or isinstance(activation, Identity):
        return layers, Identity()
    return _without_activation(layers), activation


def is_removable(end: tuple[Any, str | None]) -> bool:
    """Return whether an activation, as :func:`output_activations` gives it, is one to be taken off."""
    activation, where = end
    return where is None and not isinstance(activation, Identity)


def split_output_activations(layers: Layer, names: Collection[str]) -> tuple[Layer, Any]:
    """Return layers without the activations of the outputs with such names, and these."""
    if not names:
        return layers, Identity()
    graph, ends = last_graph(layers), output_activations(layers)
    assert graph is not None
    by_key = isinstance(graph.outputs, Mapping)
    places = [(n if by_key else i, n) for i, n in enumerate(ends) if n in names]
    last = OutputActivations(tuple((place, ends[name][0]) for place, name in places))
    return without_output_activations(layers, names), last


def _in_a_row(layers: Layer) -> list[Layer]:
    """Return layers that run one after the other, those of nested Sequentials too."""
    if not runs_in_order(layers):
        return [layers]
    return [layer for part in layers.layers for layer in _in_a_row(part)]


def _is_graph(layer: Layer) -> TypeGuard[Graph]:
    return isinstance(layer, Graph) and type(layer).forward is Graph.forward


def _nodes(graph: Graph) -> dict[str, Node]:
    return {node.name: node for node in graph.order}


def _end_of(graph: Graph, output: str) -> tuple[Any, str | None]:
    """Return the activation in which a node ends, and where it is if it cannot be taken off."""
    nodes = _nodes(graph)
    node = nodes.get(node_of(output))
    if node is None:
        return Identity(), None
    if all(_hands_on(part) or _does_nothing(part) for part in _in_a_row(node.layer)):
        found = [_end_of(graph, source)[0] for source in node.sources]
        activated = [each for each in found if not isinstance(each, Identity)]
        is_gate = isinstance(node.layer, Multiply) and len(activated) < len(found)
        if not activated or is_gate:  # a gate of logits gives logits
            return Identity(), None
        likely = [each for each in activated if isinstance(each, _OF_CLASSES | Sigmoid)]
        return [*likely, *activated][0], f"followed by the node {node.name}"
    activation, where = output_activation(node.layer)
    if "." in output:
        ends, part = output_activations(node.layer), output.split(".")[1]
        if part not in ends and part.isdecimal() and int(part) < len(ends):
            part = [*ends][int(part)]  # of a tuple, whose parts have names
        activation = ends[part][0] if part in ends else activation
        return activation, f"in a part of the output of the node {node.name}"
    takers = [n.name for n in graph.order if node.name in map(node_of, n.sources)]
    sharers = [n.name for n in graph.order if n.owner == node.owner and n is not node]
    named = [s for s in graph.output_nodes.values() if node_of(s) == node.name]
    if takers:
        where = where or f"also the input of the node {takers[0]}"
    elif sharers:
        where = where or f"shared with the node {sharers[0]}"
    elif len(named) > 1:
        where = where or f"in several outputs of the node {node.name}"
    return activation, where


def _is_own(layer: Layer) -> bool:
    """Return whether the class of a layer is one of this library's."""
    return type(layer).__module__.startswith("nnbackend.")


def _hands_on(layer: Layer) -> bool:
    """Return whether a layer hands on what it gets, changed in some way that is not learned."""
    if isinstance(layer, _CHANGES):
        return True
    inside = [child for _, child in children(layer)]
    return bool(inside) and is_built_in(layer) and all(map(_hands_on, inside))


def _overrides(layer: Activation) -> bool:
    """Return whether a subclass may do something else than apply the function."""
    own = type(layer)
    return own.apply is not Activation.apply or own.forward is not Activation.forward


def _does_nothing(layer: Layer) -> bool:
    """Return whether a layer returns its input also in training."""
    if isinstance(layer, Activation):
        return isinstance(layer.function, Identity)
    if isinstance(layer, _DROPS):
        return layer.rate == 0.0
    return isinstance(layer, GaussianNoise) and layer.std == 0.0


def _inside(layer: Layer) -> Any:
    """Return the activation in which a layer ends as it says, or else its last layer inside."""
    if hasattr(layer, "output_activation"):
        return activations.get(layer.output_activation)
    if isinstance(layer, Activation):
        return layer.function
    if isinstance(layer, Dense | ConvolutionLayer):
        return layer.activation
    if isinstance(layer, Parallel):
        return output_activation(layer.graph)[0]
    inside = [child for _, child in children(layer)]
    return output_activation(inside[-1])[0] if inside else Identity()


def _without_activation(layer: Layer) -> Layer:
    """Return layers, in which nothing is after the activation at their end, without it."""
    if isinstance(layer, Activation):
        return Activation(Identity())
    if isinstance(layer, Dense | ConvolutionLayer):
        return dataclasses.replace(layer, activation=None)
    if isinstance(layer, Graph):
        last = layer.outputs
        return layer.with_children(lambda n, own: _without_activation(own) if n == last else own)
    assert isinstance(layer, Sequential)
    return _with_last(layer, _without_activation)


def _with_last(layers: Sequential, function: Callable[[Layer], Layer]) -> Sequential:
    """Return layers with another one in the place of the last that does something."""
    parts = list(layers.layers)
    for i in reversed(range(len(parts))):
        if not all(map(_does_nothing, _in_a_row(parts[i]))):
            parts[i] = function(parts[i])
            break
    return dataclasses.replace(layers, layers=parts)
