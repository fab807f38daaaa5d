"""How data flow through layers: each layer as a block, or a frame around those inside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnbackend.core.types import Layer
from nnbackend.drawing.parts import Block, Chain, Frame, Part, Sign, Wired
from nnbackend.drawing.repeats import gather
from nnbackend.drawing.words import arguments_of, count_text, kind_of, shape_text
from nnbackend.inspection.layer_text import describe_layer
from nnbackend.inspection.shape_trace import Traced
from nnbackend.layers import Checkpoint, Graph, Highway, Parallel, Repeat, Residual, Sequential
from nnbackend.layers.structure.wiring import Node, node_of

__all__ = ["Flow"]


class Flow:
    """Turns layers and their shapes into the parts of a drawing.

    Args:
        depth: how many levels of layers inside layers are opened.
        gathers: whether layers that come several times in a row are drawn once.
    """

    def __init__(self, depth: int, gathers: bool) -> None:
        self.depth = depth
        self.gathers = gathers

    def network(
        self, traced: Traced, input_names: Sequence[str], output_names: Sequence[str]
    ) -> Part:
        """Return the parts of a network, the input first.

        Args:
            traced: the outermost layer, a Sequential.
            input_names: names of the inputs, for the input's block.
            output_names: names of the outputs, at the end.
        """
        layers = traced.inside
        first: Any = layers[0] if layers else None
        parts: list[Part] = []
        if first is not None and _is(first.layer, Graph) and self.depth > 0:
            parts.append(self._graph(first, first.layer, 1, True, len(layers) == 1))
            layers = layers[1:]
        else:
            parts.append(_input("input", traced.input_shape, ", ".join(input_names)))
        parts += self._parts(layers, 0)
        if output_names and not (isinstance(parts[-1], Wired) and parts[-1].exit is None):
            parts.append(Sign(label=", ".join(output_names), title=", ".join(output_names)))
        return Chain(tuple(parts))

    def _parts(self, layers: Sequence[Traced], level: int) -> list[Part]:
        """Return a part for each layer of a chain, those that repeat once, in a frame."""
        if not self.gathers:
            return [self._part(one, level) for one in layers]
        parts: list[Part] = []
        for start, length, times in gather([_signature(one) for one in layers]):
            inside = [self._part(one, level) for one in layers[start : start + length]]
            if times == 1:
                parts += inside
                continue
            block = layers[start : start + length * times]
            paths = f"{block[0].path} to {block[-1].path}"
            what = "layer" if length == 1 else f"block of {length} layers"
            parts.append(
                Frame(
                    f"\u00d7 {times}",
                    _note(sum(one.parameters for one in block)),
                    f"{times} times the same {what}: {paths}",
                    _chain(inside),
                )
            )
        return parts

    def _part(self, traced: Traced, level: int, name: str = "") -> Part:
        """Return a layer as a block, or opened as a frame; ``name``: that of its node."""
        if not traced.inside or level >= self.depth:
            return _block(traced, name)
        layer: Any = traced.layer
        inner = level + 1
        label = f"{name}: {type(layer).__name__}" if name else type(layer).__name__
        own = arguments_of(layer, inside=False)
        notes = [own, _note(traced.parameters)]
        connected = True
        if _is(layer, Graph, Parallel):
            graph: Any = layer if isinstance(layer, Graph) else layer.graph
            inside: Part = self._graph(traced, graph, inner)
        elif _is(layer, Residual, Highway):
            sign = "+" if isinstance(layer, Residual) else "\u00d7+"
            inside = _around(_chain(self._parts(traced.inside, inner)), sign, layer)
        elif _is(layer, Repeat):
            label += f" \u00d7 {layer.times}"
            notes = ["shared weights" if layer.shared else "", _note(traced.parameters)]
            inside = _chain(self._repeated(traced.inside, inner))
        elif _is(layer, Sequential, Checkpoint) or _only_wraps(traced):
            inside = _chain(self._parts(traced.inside, inner))
        else:  # a layer that someone wrote: how it connects those inside is in its code
            nodes = {str(i): self._part(one, inner) for i, one in enumerate(traced.inside)}
            inside, connected = Wired(nodes, {}, None, None), False
            notes.insert(0, "connections not known")
        note = ", ".join(filter(None, notes))
        title = f"{traced.path}: {describe_layer(layer)}"
        return Frame(label, note, title, inside, traced.path, connected)

    def _repeated(self, layers: Sequence[Traced], level: int) -> list[Part]:
        """Return the parts of a Repeat: the layer once, if all are alike."""
        alike = len({_signature(one) for one in layers}) == 1
        if self.gathers and alike:
            return [self._part(layers[0], level)]
        return self._parts(layers, level)

    def _graph(
        self,
        traced: Traced,
        graph: Graph,
        level: int,
        is_first: bool = False,
        is_last: bool = False,
    ) -> Wired:
        """Return the nodes of a graph, with its inputs and outputs.

        At the beginning of a network inputs are blocks of their own; at its end outputs are labels.
        """
        shapes = graph.node_shapes(traced.input_shape)
        inputs: tuple[str, ...] = graph.inputs  # type: ignore[assignment]
        nodes: dict[str, Part] = {}
        edges: dict[tuple[str, str], str] = {}
        entry = None
        if not is_first:
            entry = "entry" if len(inputs) > 1 else f"input {inputs[0]}"
            nodes[entry] = Sign(title="input")
        for name in inputs:
            key = f"input {name}"
            if is_first:
                nodes[key] = _input(name, shapes[name])
            elif len(inputs) > 1:
                nodes[key] = Sign(label=name, title=f"input {name}, {shape_text(shapes[name])}")
                edges["entry", key] = ""

        def connect(sources: Sequence[str], target: str) -> None:
            for source in sources:
                kind = "input" if node_of(source) in inputs else "node"
                edge = f"{kind} {node_of(source)}", target
                labels = edges.get(edge, ""), source[len(node_of(source)) :]
                edges[edge] = " ".join(filter(None, labels))

        records = {_last(one.path): one for one in traced.inside}
        for node in graph.order:
            nodes[f"node {node.name}"] = self._node(node, traced, records, shapes, level)
            connect(node.sources, f"node {node.name}")
        outputs = graph.output_nodes
        if len(outputs) == 1 and not is_last:
            source = next(iter(outputs.values()))
            if f"node {source}" in nodes:  # all others lead to it
                return Wired(nodes, edges, entry, f"node {source}")
            nodes["exit"] = Sign(title="output")
            connect([source], "exit")
            return Wired(nodes, edges, entry, "exit")
        for name, source in outputs.items():
            nodes[f"output {name}"] = Sign(label=name, title=f"output {name}")
            connect([source], f"output {name}")
        if is_last:
            return Wired(nodes, edges, entry, None)
        nodes["exit"] = Sign(title="outputs")
        edges |= {(f"output {name}", "exit"): "" for name in outputs}
        return Wired(nodes, edges, entry, "exit")

    def _node(
        self,
        node: Node,
        traced: Traced,
        records: dict[str, Traced],
        shapes: dict[str, Any],
        level: int,
    ) -> Part:
        """Return a node of a graph: a layer by name, or one that another node has already."""
        record = records.get(node.owner)
        path = f"{traced.path}.{node.name}".lstrip(".")
        if record is None:  # what merges the branches of a Parallel is no layer inside it
            return _block(Traced(path, node.layer, shapes[node.name], shapes[node.name]))
        # The branches of a Parallel have numbers, which say nothing.
        name = "" if isinstance(traced.layer, Parallel) else node.name
        if node.name == node.owner:
            return self._part(record, level, name)
        shared = Traced(path, node.layer, record.input_shape, shapes[node.name])
        return _block(shared, name, f"shares {node.owner}")


def _is(layer: Any, *kinds: Any) -> bool:
    """Return whether a layer is of a class, and runs as that does: a subclass may change it."""
    return any(isinstance(layer, kind) and type(layer).forward is kind.forward for kind in kinds)


def _only_wraps(traced: Traced) -> bool:
    """Return whether a layer is one of the library around a single one: a Freeze, a WeightNorm."""
    module = type(traced.layer).__module__
    return len(traced.inside) == 1 and module.startswith("nnbackend.layers.")


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _chain(parts: Sequence[Part]) -> Part:
    return parts[0] if len(parts) == 1 else Chain(tuple(parts))


def _around(inside: Part, sign: str, layer: Layer) -> Wired:
    """Return a part with a connection around it, which ends in a sign."""
    formula = (type(layer).__doc__ or "").partition("``")[2].partition("``")[0]
    nodes: dict[str, Part] = {"x": Sign(title="x"), "f": inside, "y": Sign(sign, title=formula)}
    edges = {("x", "f"): "", ("f", "y"): "", ("x", "y"): ""}
    return Wired(nodes, edges, "x", "y")


def _input(name: str, shape: Any, text: str = "") -> Block:
    title = f"{name}: rows of shape {shape_text(shape)}" + (f": {text}" if text else "")
    return Block("", "input", name, text, (shape_text(shape),), title, shape, shape)


def _block(traced: Traced, name: str = "", note: str = "") -> Block:
    """Return a layer as a block: its type and arguments, its output's shape, its parameters."""
    layer = traced.layer
    kind, arguments = type(layer).__name__, arguments_of(layer)
    text = (f"{kind}({arguments})" if arguments else kind) if name else arguments
    shape = shape_text(traced.output_shape)
    facts = [f"output {shape}", note or _note(traced.parameters)]
    if traced.runs > 1 and not name:
        facts.append(f"runs {traced.runs} times")
    title = f"{traced.path}: {describe_layer(layer)}, {facts[0]}"
    activation = getattr(layer, "activation", None)
    is_active = activation is not None and type(activation).__name__ != "Identity"
    return Block(
        traced.path,
        kind_of(layer),
        name or kind,
        text,
        tuple(filter(None, facts)),
        title + (f", {facts[1]}" if facts[1] else ""),
        traced.input_shape,
        traced.output_shape,
        is_active,
    )


def _note(parameters: int) -> str:
    return count_text(parameters) if parameters else ""


def _signature(traced: Traced) -> tuple[object, ...]:
    """Return what two layers have in common that are drawn alike."""
    shapes = str(traced.input_shape), str(traced.output_shape)
    return repr(traced.layer), *shapes, traced.parameters
