"""Layers side by side, whose outputs are merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnbackend.core.checks import check_choice, check_items, named
from nnbackend.core.random import Generator
from nnbackend.core.types import Arrays, Backward, Context, Layer, Params, Shape, State
from nnbackend.layers.base import check_layer, register_layer
from nnbackend.layers.structure.add import Add
from nnbackend.layers.structure.average import Average
from nnbackend.layers.structure.axes import check_axis
from nnbackend.layers.structure.concatenate import Concatenate
from nnbackend.layers.structure.graph import Graph
from nnbackend.layers.structure.multiply import Multiply

__all__ = ["Parallel"]

_MODES: dict[str, Callable[[int], Layer]] = {
    "concat": Concatenate,
    "add": lambda axis: Add(),
    "multiply": lambda axis: Multiply(),
    "average": lambda axis: Average(),
}


@register_layer
@dataclass(frozen=True)
class Parallel:
    """Layers that get the same input, side by side: ``y = merge(f_0(x), f_1(x), ...)``.

    The gradient of the input is the sum of theirs. The input may be several arrays, if the branches take
    those.

    Args:
        branches: one layer or more. Their parameters are named ``"0"``, ``"1"``, ...
        mode: how the outputs are merged: ``"concat"`` (the default), ``"add"``, ``"multiply"`` or
            ``"average"``; see :class:`Concatenate`, :class:`Add`, :class:`Multiply`, :class:`Average`.
        axis: the axis of ``"concat"``; default -1, the last.

    Raises:
        TypeError: something in ``branches`` is no layer.
        ValueError: there are no branches, or ``mode`` is not known; when the network is built, if the
            shapes of the outputs do not fit.
    """

    branches: Sequence[Layer]
    mode: str = "concat"
    axis: int = -1

    def __post_init__(self) -> None:
        branches = check_items("branches", self.branches, "a sequence of layers")
        for i, layer in enumerate(branches):
            with named(f"branches[{i}]"):
                check_layer(layer)
        if not branches:
            raise ValueError("branches must have one layer or more, got none")
        check_choice("mode", self.mode, tuple(_MODES))
        check_axis(self, "axis")
        object.__setattr__(self, "branches", tuple(branches))
        nodes: dict[str, Any] = {str(i): (layer, "x") for i, layer in enumerate(branches)}
        if len(branches) > 1:
            nodes["merged"] = (_MODES[self.mode](self.axis), *nodes)
        object.__setattr__(self, "_graph", Graph("x", nodes, [*nodes][-1]))

    @property
    def graph(self) -> Graph:
        """The branches and what merges them as a graph."""
        return self._graph  # type: ignore[attr-defined,no-any-return]

    @property
    def takes(self) -> Any:
        """Whether the input is numbers or indices, as the branches say."""
        return self.graph.takes

    def index_limit(self) -> Any:
        """Return the number of indices, the smallest of the branches'."""
        return self.graph.index_limit()

    def named_children(self) -> list[tuple[str, Layer]]:
        """Return the branches by name."""
        return [(str(i), layer) for i, layer in enumerate(self.branches)]

    def with_children(self, function: Callable[[str, Layer], Layer]) -> Parallel:
        """Return the layer with ``function(name, branch)`` for each branch; the same if all stay."""
        new = [function(name, layer) for name, layer in self.named_children()]
        if all(a is b for a, b in zip(new, self.branches, strict=True)):
            return self
        return replace(self, branches=new)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the parameters of each branch, and the shape of the merged output."""
        # By its name, for an input of several arrays is a dictionary, or a tuple, itself.
        params, shape = self.graph.init({"x": input_shape}, rng)
        params.pop("merged", None)
        return params, shape

    def init_state(self, input_shape: Shape) -> State:
        """Return the state of the branches that have one, by their names."""
        return self.graph.init_state({"x": input_shape})

    def forward(self, params: Params, x: Arrays, ctx: Context) -> tuple[Arrays, Backward]:
        """Run the branches and merge their outputs."""
        y, graph_backward = self.graph.forward({**params, "merged": {}}, {"x": x}, ctx)

        def backward(dy: Arrays, input_grad: bool = True) -> tuple[Arrays | None, Params]:
            dx, grads = graph_backward(dy, input_grad=input_grad)
            grads.pop("merged", None)
            return (None if dx is None else dx["x"]), grads

        return y, backward
