"""The known layers by name, and what several of them need."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from nnbackend.registry import Registry
from nnbackend.types import Layer

__all__ = ["LAYERS", "check_layer", "register_layer"]

Class = TypeVar("Class", bound=type)

LAYERS = Registry("layer")


def register_layer(cls: Class) -> Class:
    """Make a layer class known by its name, so that networks with it can be saved and loaded.

    Raises:
        TypeError: the class is not a frozen dataclass with the methods ``init`` and ``forward``.
    """
    if not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise TypeError(f"{cls.__name__} must be a frozen dataclass: @dataclass(frozen=True)")
    for method in ("init", "forward"):
        if not callable(getattr(cls, method, None)):
            raise TypeError(f"{cls.__name__} needs a method {method}; see nnbackend.types.Layer")
    return LAYERS.register(cls.__name__)(cls)


def check_layer(layer: Any) -> Layer:
    """Return ``layer`` if it is one.

    Raises:
        TypeError: it lacks a method of a layer, or is a class instead of an object.
    """
    if isinstance(layer, type):
        raise TypeError(
            f"got the class {layer.__name__} instead of a layer; write {layer.__name__}(...)"
        )
    # As isinstance(layer, Layer) would say, in a twentieth of the time.
    if not (hasattr(layer, "init") and hasattr(layer, "forward")):
        raise TypeError(f"a layer has the methods init and forward; got {layer!r}")
    return layer  # type: ignore[no-any-return]
