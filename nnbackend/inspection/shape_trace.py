"""What each layer of a network gets and gives, and what it costs, found without computing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nnbackend.core import random
from nnbackend.core.layer_tree import map_layers
from nnbackend.core.layer_wrapper import LayerWrapper
from nnbackend.core.shapes import Shapes, map_shapes
from nnbackend.core.tree import flatten
from nnbackend.core.types import Arrays, Backward, Context, Layer, Params

__all__ = ["Traced", "trace_shapes"]


@dataclass(eq=False)
class Traced:
    """A layer with the shapes it has in a network.

    Attributes:
        path: its place, a dotted name.
        layer: the layer.
        input_shape: the shape of a row of its input, or a tree of shapes.
        output_shape: the shape of a row of its output, or a tree of shapes.
        weights: the shapes of its own parameters; those of layers inside are theirs.
        inside: the layers inside, in the order in which they run.
        runs: how often the layer around it runs it; more than once where it is shared.
    """

    path: str
    layer: Layer
    input_shape: Shapes
    output_shape: Shapes = ()
    weights: list[tuple[int, ...]] = field(default_factory=list)
    inside: list[Traced] = field(default_factory=list)
    runs: int = 1

    @cached_property
    def parameters(self) -> int:
        """The number of parameters, with those of layers inside."""
        return sum(map(math.prod, self.weights)) + sum(one.parameters for one in self.inside)

    @cached_property
    def multiply_adds(self) -> int | None:
        """The multiplications of inputs with weights in a forward pass of one row; None: unknown.

        They are what a layer's method ``multiply_adds(input_shape, output_shape)`` says, with those of
        the layers inside. A layer with parameters of two axes or more and without the method is unknown.
        """
        own: Any = getattr(self.layer, "multiply_adds", None)
        if own is None and any(len(shape) > 1 for shape in self.weights):
            return None
        total = 0 if own is None else own(self.input_shape, self.output_shape)
        for one in self.inside:
            if one.multiply_adds is None:
                return None
            total += self._runs_inside * one.runs * one.multiply_adds
        return int(total)

    @cached_property
    def activations(self) -> int:
        """How many numbers the outputs for one row have: those of layers inside, or its own."""
        if not self.inside or not getattr(self.layer, "keeps_activations", True):
            sizes: list[int] = []
            map_shapes(lambda shape: sizes.append(math.prod(shape)), self.output_shape)
            return sum(sizes)
        return self._runs_inside * sum(one.runs * one.activations for one in self.inside)

    @property
    def _runs_inside(self) -> int:
        """How often the layer runs what is inside."""
        return int(getattr(self.layer, "runs_inside", 1))


def trace_shapes(layer: Layer, input_shape: Shapes, path: str = "") -> Traced:
    """Return what a layer and those inside it get and give, by running ``init`` without drawing.

    Args:
        layer: the layer.
        input_shape: the shape of a row of its input, or a tree of shapes.
        path: its place, a dotted name; default "", that of a network's outermost layer.

    Raises:
        ValueError: the shapes do not fit.
    """
    return _trace(layer, input_shape, path, random.ShapeGenerator((0, 0)))[0]


def _trace(layer: Layer, input_shape: Shapes, path: str, rng: Any) -> tuple[Traced, Params]:
    """Return a layer's record, and its initial parameters."""
    inside: dict[str, Traced] = {}
    prefix = f"{path}." if path else ""
    watched = map_layers(lambda name, child: _Watched(child, prefix + name, inside), layer)
    params, output_shape = watched.init(input_shape, rng)
    names = {child_path.removeprefix(prefix) for child_path in inside}
    own = {name: value for name, value in params.items() if name not in names}
    weights = [tuple(value.shape) for value in flatten(own).values()]
    return Traced(path, layer, input_shape, output_shape, weights, [*inside.values()]), params


@dataclass(frozen=True, eq=False)
class _Watched(LayerWrapper):
    """A layer that records the shapes it is initialized with."""

    path: str
    found: dict[str, Traced]

    def init(self, input_shape: Shapes, rng: Any) -> tuple[Params, Shapes]:
        """Return the layer's parameters and its output's shape."""
        record, params = _trace(self.layer, input_shape, self.path, rng)
        known = self.found.setdefault(self.path, record)
        known.runs += known is not record
        return params, record.output_shape

    def forward(self, params: Params, x: Arrays, ctx: Context) -> tuple[Arrays, Backward]:
        """Run the layer."""
        found: tuple[Arrays, Backward] = self.layer.forward(params, x, ctx)
        return found
