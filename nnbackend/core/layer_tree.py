"""Layers inside layers: walk them, and find what belongs to their weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from nnbackend.core.types import Layer

__all__ = ["children", "weights_with"]


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
