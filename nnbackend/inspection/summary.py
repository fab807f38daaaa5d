"""A network as people read it: its layers, the shapes of their outputs, the number of parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass

from nnbackend import activations
from nnbackend.backends.base import Backend
from nnbackend.core import random
from nnbackend.core.layer_tree import children
from nnbackend.core.tree import flatten
from nnbackend.core.types import Layer, Params, Shape
from nnbackend.layers import Activation, Dense

__all__ = ["line", "rows", "table"]


def rows(
    layers: Sequence[Layer], input_shape: Shape | None, params: Params | None
) -> list[tuple[str, str, str, int]]:
    """Return name, layer, output shape and number of parameters of each layer; None: not built."""
    found, shape = [], input_shape
    for i, layer in enumerate(layers):
        text = "?"
        if shape is not None:
            _, shape = layer.init(shape, random.ShapeGenerator((0, 0)))
            text = str(tuple(shape))
        own = {} if params is None else params[str(i)]
        count = sum(math.prod(p.shape) for p in flatten(own).values())
        found.append((str(i), line(layer), text, count))
    return found


def table(
    layers: Sequence[tuple[str, str, str, int]], input_shape: Shape | None, backend: Backend
) -> str:
    """Return the rows of :func:`rows` as lines of text, with the sum and the backend."""
    header = ("", "layer", "output", "parameters")
    cells = [(name, layer, shape, f"{count:,}") for name, layer, shape, count in layers]
    total = sum(count for *_, count in layers)
    widths = [max(len(row[i]) for row in [header, *cells]) for i in range(4)]
    lines = [
        f"{a:>{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}".rstrip()
        for a, b, c, d in [header, *cells]
    ]
    shape = "not built" if input_shape is None else f"input {input_shape}"
    where = f"{backend.name} on {backend.device_name()}, {backend.precision_label}"
    return "\n".join([*lines, f"{total:,} parameters, {shape}, {where}"])


def line(layer: Layer) -> str:
    """Return a layer as a line of a table: ``Dense(64, relu)``."""
    name = type(layer).__name__
    if isinstance(layer, Dense):
        activation = activations.ACTIVATIONS.name_of(layer.activation) or repr(layer.activation)
        bias = "" if layer.bias else ", no bias"
        return f"{name}({layer.out_features}, {activation}{bias})"
    if isinstance(layer, Activation):
        return f"{name}({activations.ACTIVATIONS.name_of(layer.function) or layer.function!r})"
    inside = [line(child) for _, child in children(layer)]
    return f"{name}({', '.join(inside)})" if inside or hasattr(layer, "layers") else _brief(layer)


def _brief(layer: Layer) -> str:
    """Return a layer without the fields that have their defaults: ``BatchNorm(momentum=0.2)``."""
    shown = [f for f in fields(layer) if f.init and f.repr] if is_dataclass(layer) else []
    needed = {f.name for f in shown if f.default is f.default_factory is MISSING}
    try:
        plain = type(layer)(**{name: getattr(layer, name) for name in needed})
    except (TypeError, ValueError):  # fields that need each other
        return repr(layer)
    values = {f.name: repr(getattr(layer, f.name)) for f in shown}
    parts = [
        f"{name}={value}"
        for name, value in values.items()
        if name in needed or value != repr(getattr(plain, name))
    ]
    return f"{type(layer).__name__}({', '.join(parts)})" if shown else repr(layer)
