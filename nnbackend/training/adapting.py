"""Initial parameters that layers derive from data, in one forward pass.

A layer that has them has a method ``adapt(params, x, rng, ctx) -> params``: from its parameters as
``init`` made them and the rows that reach it, it returns those to begin with, of the same names and
shapes. Layers before it have adapted theirs by then.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend.core.layer_tree import has_layer, map_layers
from nnbackend.core.layer_wrapper import LayerWrapper
from nnbackend.core.random import Generator, forward_key
from nnbackend.core.tree import flatten, unflatten
from nnbackend.core.types import Arrays, Backward, Context, Layer, Params, Path, State

__all__ = ["adapted_params", "check_adapts"]


def check_adapts(layers: Layer) -> None:
    """Check that a layer at some depth derives its parameters from data.

    Raises:
        ValueError: none does.
    """
    if not has_layer(layers, "adapt"):
        raise ValueError(
            "no layer of this network derives its parameters from data, as ScaledDense does by a method "
            "adapt(params, x, rng, ctx): there is nothing to initialize"
        )


def adapted_params(
    layers: Layer,
    params: Params,
    x: Arrays,
    state: State,
    backend: Any,
    seed: int,
    frozen: Collection[str],
) -> Params:
    """Return the parameters of a network as its layers derive them from rows.

    Args:
        layers: the layers.
        params: their parameters, which stay as they are.
        x: the rows, on the backend.
        state: the state of the layers.
        backend: the backend.
        seed: fixes the random numbers.
        frozen: the dotted names of parameters that must not change; layers with one of them stay.

    Raises:
        ValueError: a layer is inside one that computes its parameters.
    """
    found = _Found(flatten(params), frozenset(frozen), Generator.of(seed, "adapt"), {})
    ctx = Context(backend, False, forward_key(seed), 0, state)
    _adapting(layers, found).forward(params, x, ctx)
    return unflatten({**found.own, **found.adapted}, params)


@dataclass(frozen=True, eq=False)
class _Found:
    """The parameters of a network by dotted name, and those that its layers have adapted."""

    own: dict[str, Any]
    frozen: frozenset[str]
    rng: Generator
    adapted: dict[str, Any]

    def adapt(self, layer: Any, params: Params, x: Arrays, ctx: Context) -> Params:
        """Return what a layer makes of its parameters; the first time that it runs."""
        names = [".".join((*ctx.path, name)) for name in flatten(params)]
        if not names or self.frozen.intersection(names):
            return params
        if names[0] not in self.adapted:
            self._check_own(layer, names, params, ctx.path)
            rng = self.rng
            for name in ctx.path:
                rng = rng.child(name)
            changed = flatten(layer.adapt(params, x, rng, ctx))
            self.adapted.update(
                zip(names, (changed[name] for name in flatten(params)), strict=True)
            )
        mine = dict(zip(flatten(params), (self.adapted[name] for name in names), strict=True))
        return unflatten(mine, params)

    def _check_own(self, layer: Any, names: list[str], params: Params, path: Path) -> None:
        """Refuse parameters that are not the network's own, but made of others."""
        for name, array in zip(names, flatten(params).values(), strict=True):
            if self.own.get(name) is not array:
                raise ValueError(
                    f"the layer {'.'.join(path)} ({type(layer).__name__}) derives its parameters from "
                    "data, and is inside a layer that computes them from others: it cannot be "
                    "initialized there"
                )


def _adapting(layer: Layer, found: _Found) -> Layer:
    """Return a layer in which all layers that derive their parameters from data do so."""
    inside = map_layers(lambda name, child: _adapting(child, found), layer)
    return _Adapting(inside, found) if hasattr(layer, "adapt") else inside


@dataclass(frozen=True, eq=False)
class _Adapting(LayerWrapper):
    """A layer that adapts its parameters before it runs."""

    pure: ClassVar[bool] = False  # a recording would not adapt
    found: _Found

    def forward(self, params: Params, x: Arrays, ctx: Context) -> tuple[Arrays, Backward]:
        """Run the layer with its adapted parameters."""
        adapted = self.found.adapt(self.layer, params, x, ctx)
        found: tuple[Arrays, Backward] = self.layer.forward(adapted, x, ctx)
        return found
