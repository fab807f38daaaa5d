"""The known layers by name, and helpers that several of them share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, overload

from nnbackend.activations import ACTIVATIONS, layer_instead
from nnbackend.core.checks import check_flag
from nnbackend.core.random import Generator
from nnbackend.core.registry import Registry
from nnbackend.core.types import Arrays, Backward, Context, Layer, Params, Shape
from nnbackend.errors import given

__all__ = ["LAYERS", "Parameterless", "check_layer", "not_a_pair", "register_layer"]

Class = TypeVar("Class", bound=type)

LAYERS = Registry("layer")


class Parameterless:
    """The base of layers without parameters: a subclass is a frozen dataclass with a method ``apply``.

    >>> @dataclass(frozen=True)
    ... class Square(Parameterless):
    ...     def apply(self, x, ctx):
    ...         return x * x, lambda dy: 2.0 * x * dy
    """

    def apply(self, x: Arrays, ctx: Context) -> tuple[Arrays, Callable[[Arrays], Arrays]]:
        """Return the output for ``x`` of shape ``(batch, *input_shape)``, and ``backward(dy) -> dx``."""
        raise NotImplementedError

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of an output without the batch axis: that of the input, if not overridden."""
        return input_shape

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return no parameters and the shape of the output."""
        return {}, self.output_shape(input_shape)

    def forward(self, params: Params, x: Arrays, ctx: Context) -> tuple[Arrays, Backward]:
        """Return the output and the backward pass."""
        y, apply_backward = self.apply(x, ctx)
        return y, lambda dy, input_grad=True: (apply_backward(dy) if input_grad else None, {})


@overload
def register_layer(cls: Class, /) -> Class: ...


@overload
def register_layer(*, pure: bool = True) -> Callable[[Class], Class]: ...


def register_layer(cls: Class | None = None, /, *, pure: bool = True) -> Any:
    """Make a layer class known by its name, so that networks with it can be saved and loaded.

    It is written above the class, as ``@register_layer`` or with an argument.

    Args:
        cls: the class.
        pure: whether the layer only computes. Then training records a few steps and plays
            the calls of the array library that they made from then on, without running the layer's
            Python code again. Pass False for a layer that counts or prints, or reads data other
            than its arguments that change from step to step. Default True. (On JAX every layer is
            compiled.)

    Raises:
        TypeError: the class is not a frozen dataclass with the methods ``init`` and ``forward``.
    """
    check_flag("pure", pure)
    if cls is None:
        return partial(register_layer, pure=pure)
    if not isinstance(cls, type):
        raise TypeError(
            f"cls must be a layer's class, got {given(cls)}; write @register_layer above the class"
        )
    if not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise TypeError(f"{cls.__name__} must be a frozen dataclass: @dataclass(frozen=True)")
    for method in ("init", "forward"):
        if not callable(getattr(cls, method, None)):
            raise TypeError(
                f"{cls.__name__} needs a method {method}; see nnbackend.core.types.Layer"
            )
    return LAYERS.register(cls.__name__, pure=pure)(cls)


def check_layer(layer: Any) -> Layer:
    """Return ``layer`` if it is one.

    Raises:
        TypeError: it lacks a method of a layer, or is a class instead of an object.
    """
    # As isinstance(layer, Layer) would say, in a twentieth of the time.
    if isinstance(layer, type) or not (hasattr(layer, "init") and hasattr(layer, "forward")):
        raise TypeError(
            f"a layer has the methods init and forward; got {given(layer)}{_meant(layer)}"
        )
    return layer  # type: ignore[no-any-return]


def not_a_pair(found: Any, layer: Layer, name: str, wanted: str) -> TypeError:
    """Return the error for a layer whose function returned something else than two things."""
    got = f"{wanted}; got {type(found).__name__}"
    return TypeError(f"layer {name} ({type(layer).__name__}): {got}")


def _meant(value: Any) -> str:
    """Return a hint at the layer that was meant by a value that is not a layer."""
    if value in ACTIVATIONS if isinstance(value, str) else ACTIVATIONS.name_of(value):
        return f"; as a layer that is Activation({value!r})"
    if layer_instead(value) is not None:
        return f"; that is the layer {layer_instead(value)}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"; that many outputs are Dense({value})"
    return ""
