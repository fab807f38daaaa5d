"""Layers inside layers: walk them, and find what belongs to their weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from nnbackend.core.random import ShapeGenerator
from nnbackend.core.types import Layer, Shape, State

__all__ = ["children", "init_state", "init_states", "is_stateful", "weights_with"]


def children(layer: Layer) -> Iterator[tuple[str, Layer]]:
    """Yield the layers inside a composite one (a dataclass with a field ``layers``), by name."""
    if not dataclasses.is_dataclass(layer):
        return
    if any(field.name == "layers" for field in dataclasses.fields(layer)):
        for i, child in enumerate(layer.layers):
            yield str(i), child


def weights_with(attribute: str, layer: Layer, prefix: str = "") -> tuple[tuple[str, Any], ...]:
    """Return the dotted name of each weight whose layer has such an attribute, with its value.

    >>> weights_with("regularizer", Sequential([Dense(3, regularizer=L2(0.1)), Dense(1)]))
    (('0.weight', L2(strength=0.1)),)
    """
    own = getattr(layer, attribute, None)
    found = [] if own is None else [(f"{prefix}weight", own)]
    for name, child in children(layer):
        found += weights_with(attribute, child, f"{prefix}{name}.")
    return tuple(found)


def is_stateful(layer: Layer) -> bool:
    """Return whether a layer, or one inside it, has state: arrays that no optimizer trains."""
    inside = [child for _, child in children(layer)]
    return any(map(is_stateful, inside)) if inside else hasattr(layer, "init_state")


def init_state(layer: Layer, input_shape: Shape) -> State:
    """Return the initial state of a layer: NumPy arrays in float64 by name; {} if it has none.

    A layer has state if it has a method ``init_state(input_shape)``. A layer with layers inside has
    to have one if they do, for it alone knows the shapes of their inputs; see :func:`init_states`.

    Raises:
        TypeError: a layer inside has state, and the one around it does not say so.
    """
    if hasattr(layer, "init_state"):
        return layer.init_state(input_shape)  # type: ignore[no-any-return]
    for name, child in children(layer):
        if is_stateful(child):
            raise TypeError(
                f"{type(layer).__name__} needs a method init_state(input_shape), for the layer {name} "
                f"inside it ({type(child).__name__}) has state: return "
                f"{{{name!r}: init_state(layer, shape_of_its_input)}}, by the name it has in "
                "ctx.child(name); nnbackend.core.layer_tree has init_state"
            )
    return {}


def init_states(named: Iterable[tuple[str, Layer]], input_shape: Shape) -> State:
    """Return the initial state of layers, given by name, that run one after the other."""
    named = list(named)
    last = max((i for i, (_, layer) in enumerate(named) if is_stateful(layer)), default=-1)
    states, shape = {}, input_shape
    for name, layer in named[: last + 1]:
        state = init_state(layer, shape)
        if state:
            states[name] = state
        _, shape = layer.init(shape, ShapeGenerator((0, 0)))
    return states
