"""A layer as a line of text."""

from __future__ import annotations

import dataclasses
from typing import Any

from nnbackend.activations import ACTIVATIONS
from nnbackend.core.layer_tree import children, holds_layers
from nnbackend.core.types import Layer

__all__ = ["describe_layer"]

_LONGEST_TEXT = 60  # of an argument, in characters


def describe_layer(layer: Layer, inside: bool = True) -> str:
    """Return a layer as a line of text, with the arguments that are not at their defaults.

    Args:
        layer: the layer.
        inside: whether the layers inside are part of it; default True.

    >>> describe_layer(Dense(64, "relu", bias=False))
    'Dense(64, relu, no bias)'
    """
    layers = [describe_layer(child) for _, child in children(layer)]
    if not dataclasses.is_dataclass(layer) and not layers:
        return repr(layer)
    parts = [*(layers if inside else ()), *_arguments(layer, named=bool(layers))]
    return f"{type(layer).__name__}({', '.join(parts)})"


def _arguments(layer: Any, named: bool) -> list[str]:
    """Return the arguments that differ from those of a layer with nothing but what is required.

    ``named`` says whether required ones, too, are shown with their names.
    """
    if not dataclasses.is_dataclass(layer):
        return []
    fields = [field for field in dataclasses.fields(layer) if field.init]
    values = {field.name: getattr(layer, field.name) for field in fields}
    usual = _usual(layer, fields, values)
    first, more = [], []
    for field in fields:
        name, value = field.name, values[field.name]
        if name == "layers" or holds_layers(value):
            continue
        text = _show(value, layer)
        if name == "activation":
            first.append(text)
        elif name == "bias" and value is False:
            more.append("no bias")
        elif _is_required(field):
            first.append(f"{name}={text}" if named else text)
        elif not _equal(value, usual.get(name, field.default)):
            more.append(f"{name}={text}")
    return first + more


def _usual(layer: Any, fields: list[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a layer with the required arguments and this activation alone.

    A layer replaces defaults by what they stand for (a size by one for each axis, None by an
    initializer that suits the activation), so the default itself is no measure.
    """
    given = {field.name: values[field.name] for field in fields if _is_required(field)}
    if "activation" in values:
        given["activation"] = values["activation"]
    try:
        usual: dict[str, Any] = vars(type(layer)(**given))
    except (TypeError, ValueError):  # a layer that no default suits
        return {}
    return usual


def _is_required(field: Any) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _equal(a: Any, b: Any) -> bool:
    """Return whether two values are known to be equal; arrays are not asked."""
    return a is b or (type(a) is type(b) and repr(a) == repr(b))


def _show(value: Any, layer: Any) -> str:
    """Return a value as text: one number for all axes of a window, functions by their names."""
    name = ACTIVATIONS.name_of(value)
    if name is not None and value == ACTIVATIONS.create(name):
        return name
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    for_each_axis = "axes" in dir(type(layer)) and "axes" not in vars(layer)
    if for_each_axis and isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    text = repr(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}..."
