"""What a drawing says of layers and shapes."""

from __future__ import annotations

from typing import Any

from nnbackend.core.shapes import Shapes, is_shape
from nnbackend.core.types import Layer
from nnbackend.inspection.layer_text import describe_layer
from nnbackend.inspection.shape_trace import Traced

__all__ = ["arguments_of", "count_text", "kind_of", "lines_of", "shape_text"]

_KINDS = {  # by the module of a layer's class, the first that begins so
    "nnbackend.layers.convolution": "convolution",
    "nnbackend.layers.pooling": "pooling",
    "nnbackend.layers.normalization": "normalization",
    "nnbackend.layers.normalize": "normalization",
    "nnbackend.layers.activation": "activation",
    "nnbackend.layers.gates.prelu": "activation",
    "nnbackend.layers.gates.glu": "activation",
    "nnbackend.layers.tabular.parametric_activation": "activation",
    "nnbackend.layers.regularization": "regularization",
    "nnbackend.layers.dropout": "regularization",
    "nnbackend.layers.alpha_dropout": "regularization",
    "nnbackend.layers.gaussian_noise": "regularization",
    "nnbackend.layers.embedding": "embedding",
    "nnbackend.layers.tabular.periodic": "embedding",
    "nnbackend.layers.dense": "dense",
    "nnbackend.layers.gates": "dense",
    "nnbackend.layers.tabular": "dense",
    "nnbackend.layers.structure.bilinear": "dense",
    "nnbackend.layers.flatten": "reshape",
    "nnbackend.layers.resizing": "reshape",
    "nnbackend.layers.structure.reshape": "reshape",
    "nnbackend.layers.structure.permute": "reshape",
    "nnbackend.layers.structure.split": "reshape",
    "nnbackend.layers.structure": "merge",
}


def kind_of(layer: Layer) -> str:
    """Return the kind of a layer, which has a color: that of the nearest class of the library."""
    for kind in type(layer).__mro__:
        for start, name in _KINDS.items():
            if kind.__module__.startswith(start):
                return name
    return "other"


def arguments_of(layer: Layer, inside: bool = True) -> str:
    """Return the arguments of a layer as text: ``64, relu`` of ``Dense(64, relu)``."""
    text = describe_layer(layer, inside)
    name = type(layer).__name__
    if not text.startswith(f"{name}("):
        return ""
    return text[len(name) + 1 : -1].replace(", identity", "")  # most layers have no activation


def shape_text(shapes: Shapes) -> str:
    """Return the shape of a row, or a tree of shapes, as text.

    >>> shape_text({"meta": (3,), "other": (4,)})
    'meta 3, other 4'
    """
    if isinstance(shapes, dict):
        return ", ".join(f"{name} {_nested(shape)}" for name, shape in shapes.items())
    if is_shape(shapes):
        return "\u00d7".join(map(str, shapes)) or "a number"
    return ", ".join(map(_nested, shapes))


def _nested(shapes: Shapes) -> str:
    text = shape_text(shapes)
    return text if is_shape(shapes) else f"({text})"


def count_text(parameters: int) -> str:
    """Return a number of parameters as text."""
    return f"{parameters:,} parameter{'s' * (parameters != 1)}"


def lines_of(traced: Traced) -> list[str]:
    """Return a line of text for each layer, for those who cannot see the drawing."""
    return [_line(one) for layer in traced.inside for one in _with_inside(layer)]


def _with_inside(traced: Traced) -> list[Traced]:
    return [traced, *(found for one in traced.inside for found in _with_inside(one))]


def _line(traced: Traced) -> str:
    text = describe_layer(traced.layer, inside=not traced.inside)
    text += f", run {traced.runs} times" if traced.runs > 1 else ""
    more: Any = f", {count_text(traced.parameters)}" if traced.parameters else ""
    return f"{traced.path}: {text}, output {shape_text(traced.output_shape)}{more}"
