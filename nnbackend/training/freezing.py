"""Frozen layers: layers before the first one that learns need no backward pass."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from nnbackend.core.tree import flatten
from nnbackend.core.types import Array, Backward, Context, Layer, Params
from nnbackend.layers.sequential import Sequential, runs_in_order
from nnbackend.optimizers import Frozen, Optimizer

__all__ = ["without_frozen_prefix"]


def without_frozen_prefix(layers: Layer, optimizer: Optimizer, params: Params) -> Layer:
    """Return the layers for training: without a backward pass where all layers before are frozen."""
    if not isinstance(optimizer, Frozen):
        return layers
    return _without_prefix(layers, params, optimizer.frozen(flatten(params)), "")


def _without_prefix(layers: Layer, params: Params, frozen: Collection[str], prefix: str) -> Layer:
    """Return layers, of which some learn, without a backward pass before the first that does."""
    if not runs_in_order(layers):
        return layers
    parts = list(layers.layers)
    learns = (
        i
        for i in range(len(parts))
        if not all(f"{prefix}{i}.{name}" in frozen for name in flatten(params[str(i)]))
    )
    first = next(learns)
    child, inside = parts[first], f"{prefix}{first}."
    parts[first] = _without_prefix(child, params[str(first)], frozen, inside)
    return layers if first == 0 and parts[0] is child else FrozenPrefix(parts, first)


@dataclass(frozen=True)
class FrozenPrefix(Sequential):
    """Layers one after the other, of which those before the layer ``first`` are frozen."""

    first: int

    def __post_init__(self) -> None:
        super().__post_init__()
        named: list[tuple[str, Layer]] = self._named
        object.__setattr__(self, "_frozen", named[: self.first])
        object.__setattr__(self, "_named", named[self.first :])

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Run the layers in order, and keep nothing of the frozen ones for the backward pass."""
        for name, layer in self._frozen:  # type: ignore[attr-defined]
            x, _ = layer.forward(params[name], x, ctx.child(name))
        return super().forward(params, x, ctx)
