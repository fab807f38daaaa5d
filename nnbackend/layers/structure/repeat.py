"""A layer several times in a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from nnbackend.core.checks import named, set_flag, set_size
from nnbackend.core.layer_tree import count_layers, init_state
from nnbackend.core.random import Generator
from nnbackend.core.types import Array, Backward, Context, Layer, Params, Shape, State
from nnbackend.layers.base import check_layer, register_layer
from nnbackend.layers.sequential import Sequential
from nnbackend.layers.structure.gradients import add_grads

__all__ = ["MAX_LAYERS", "Repeat"]

MAX_LAYERS = 10_000
"""More than any network has; a file must not ask for so many in a few words."""


@register_layer
@dataclass(frozen=True)
class Repeat:
    """A layer several times in a row, ``y = f(... f(f(x)))``, with own or shared weights.

    Args:
        layer: ``f``.
        times: how often it runs.
        shared: whether all have the same parameters, whose gradients are added, and the same state, each
            time with other random numbers; default False: each has its own, named ``"0"``, ``"1"``, ...
            Shared ones are named ``"layer"``.

    Raises:
        TypeError: ``layer`` is no layer.
        ValueError: ``times`` is below 1, or makes more than 10,000 layers; when the network is built, if
            a shared layer changes the shape.
    """

    layer: Layer
    times: int
    shared: bool = False

    def __post_init__(self) -> None:
        with named("layer"):
            check_layer(self.layer)
        set_size(self, "times")
        set_flag(self, "shared")
        if self.layer_count > MAX_LAYERS:
            raise ValueError(
                f"times={self.times} makes more than {MAX_LAYERS:,} layers of those inside, too many"
            )

    @property
    def layer_count(self) -> int:
        """How many layers run."""
        return 1 + self.times * count_layers(self.layer)

    @cached_property
    def _row(self) -> Sequential:
        """The layers with their own weights."""
        return Sequential((self.layer,) * self.times)

    def named_children(self) -> list[tuple[str, Layer]]:
        """Return the layer once if it is shared, or as often as it runs."""
        if self.shared:
            return [("layer", self.layer)]
        return [(str(i), self.layer) for i in range(self.times)]

    def with_children(self, function: Callable[[str, Layer], Layer]) -> Layer:
        """Return the layer with ``function(name, layer)`` each time; the same if all stay."""
        new = [function(name, layer) for name, layer in self.named_children()]
        if all(layer is self.layer for layer in new):
            return self
        if all(layer == new[0] for layer in new):
            return replace(self, layer=new[0])
        return Sequential(new)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the parameters, and the shape of the output."""
        if not self.shared:
            return self._row.init(input_shape, rng)
        params, shape = self.layer.init(input_shape, rng.child("layer"))
        if self.times > 1 and shape != input_shape:
            raise ValueError(
                f"a layer that is repeated with shared weights keeps the shape, but "
                f"{type(self.layer).__name__} maps {input_shape} to {shape}"
            )
        return {"layer": params}, shape

    def init_state(self, input_shape: Shape) -> State:
        """Return the state of the layer, as its parameters are named."""
        if not self.shared:
            return self._row.init_state(input_shape)
        state = init_state(self.layer, input_shape)
        return {"layer": state} if state else {}

    @property
    def runs_inside(self) -> int:
        """How often the layers inside run, for a summary."""
        return self.times if self.shared else 1

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Run the layer so many times."""
        if not self.shared:
            return self._row.forward(params, x, ctx)
        own, backwards = params["layer"], []
        for i in range(self.times):
            x, layer_backward = self.layer.forward(own, x, ctx.child("layer", i))
            backwards.append(layer_backward)

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            grads: Params = {}
            for i in reversed(range(self.times)):
                dy, found = backwards[i](dy, input_grad=input_grad or i > 0)
                grads = add_grads(grads, found)
            return (dy if input_grad else None), {"layer": grads}

        return x, backward
