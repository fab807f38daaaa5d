"""Frozen layers: what lies before the first layer that learns needs no backward pass."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.core.tree import flatten
from nnbackend.core.types import Array, Backward, Context, Layer, Params
from nnbackend.layers.sequential import Sequential, run
from nnbackend.optimizers import Frozen, Optimizer

__all__ = ["without_frozen_prefix"]


def without_frozen_prefix(layers: Layer, optimizer: Optimizer, params: Params) -> Layer:
    """Return the layers as they are trained: without a backward pass where all before is frozen."""
    if not isinstance(optimizer, Frozen) or not isinstance(layers, Sequential):
        return layers
    frozen = optimizer.frozen(flatten(params))
    names = [[f"{i}.{name}" for name in flatten(params[str(i)])] for i in range(len(params))]
    first = next(i for i, own in enumerate(names) if not frozen.issuperset(own))
    return FrozenPrefix(layers.layers, first) if first else layers


@dataclass(frozen=True)
class FrozenPrefix(Sequential):
    """Layers one after the other, of which those before the layer ``first`` are frozen."""

    first: int

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Run the layers in order, and keep nothing of the frozen ones for the backward pass."""
        named: list[tuple[str, Layer]] = self._named  # type: ignore[attr-defined]
        for name, layer in named[: self.first]:
            x, _ = layer.forward(params[name], x, ctx.child(name))
        return run(named[self.first :], params, x, ctx)
