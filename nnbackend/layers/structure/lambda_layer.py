"""A function as a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nnbackend.core.checks import check_takes
from nnbackend.core.random import Generator
from nnbackend.core.registry import FunctionRegistry
from nnbackend.core.shapes import Shapes, check_shapes, row_shapes
from nnbackend.core.types import Arrays, Backward, Context, Params
from nnbackend.errors import given
from nnbackend.layers.base import register_layer

__all__ = ["FUNCTIONS", "Lambda", "register_function"]

FUNCTIONS = FunctionRegistry("function")


def register_function(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function known by a name, so that a :class:`Lambda` of it can be saved and loaded.

    It is written above the function, which is registered before a file is loaded, too::

        @nnb.register_function("square")
        def square(x, xp):
            return x * x, lambda dy: 2.0 * x * dy

    Raises:
        TypeError: ``name`` is no text, or it is written above something else than a function.
        ValueError: another function has that name.
    """
    return FUNCTIONS.register(name)


@register_layer
@dataclass(frozen=True)
class Lambda:
    """A function of arrays as a layer without parameters: ``y = f(x)``.

    >>> nnb.Lambda(lambda x, xp: (x * x, lambda dy: 2.0 * x * dy))
    >>> nnb.Lambda(lambda x, xp: xp.sin(x), derivative=lambda x, xp: xp.cos(x))

    There is no tape: the derivative is the function's to give. It is saved if the function is registered
    by :func:`register_function`; of one that is not, saving is an error.

    Args:
        function: ``function(x, xp) -> (y, backward)`` with ``backward(dy) -> dx``, of arrays of shape
            (batch, ...) and ``xp``, the array namespace; with a derivative ``function(x, xp) -> y``.
            Several inputs are a tuple or dictionary of arrays, and so is ``dx``.
        derivative: ``derivative(x, xp)``, that of a function that acts on each number by itself:
            ``dx = dy * derivative(x, xp)``; None (the default): ``function`` returns ``backward``.
        output_shape: the shape of a row of the output, or ``output_shape(input_shape)`` that returns it;
            None (the default): that of the input.

    Raises:
        TypeError: ``function`` or ``derivative`` cannot be called with ``(x, xp)``.
        ValueError: in a pass, if the output has another shape.
    """

    function: Callable[..., Any]
    derivative: Callable[..., Any] | None = None
    output_shape: Any = None

    def __post_init__(self) -> None:
        for name, value in (("function", self.function), ("derivative", self.derivative)):
            if value is None and name == "derivative":
                continue
            if isinstance(value, type) or not callable(value):
                raise TypeError(f"{name} must be called with (x, xp), got {given(value)}")
            check_takes(name, value, "x", "xp")
        if self.output_shape is not None and not callable(self.output_shape):
            shape = check_shapes("output_shape", self.output_shape)
            object.__setattr__(self, "output_shape", shape)

    def init(self, input_shape: Shapes, rng: Generator) -> tuple[Params, Shapes]:
        """Return no parameters and the shape of the output."""
        if self.output_shape is None:
            return {}, input_shape
        if callable(self.output_shape):
            return {}, check_shapes("what output_shape returns", self.output_shape(input_shape))
        return {}, self.output_shape

    def forward(self, params: Params, x: Arrays, ctx: Context) -> tuple[Arrays, Backward]:
        """Call the function."""
        xp, found = ctx.xp, self.function(x, ctx.xp)
        backward: Any
        if self.derivative is not None:
            derivative: Any = self.derivative
            y, backward = found, lambda dy: dy * derivative(x, xp)
        elif isinstance(found, Sequence) and len(found) == 2 and callable(found[1]):
            y, backward = found
        else:
            raise TypeError(
                f"function of Lambda must return (y, backward), got {given(found)}; of one that acts "
                "on each number give the derivative, Lambda(function, derivative=...)"
            )
        wanted = self.init(row_shapes(x), None)[1]  # type: ignore[arg-type]
        if row_shapes(y) != wanted:
            raise ValueError(
                f"function of Lambda gives rows of shape {row_shapes(y)}, and output_shape says "
                f"{wanted}"
            )
        return y, lambda dy, input_grad=True: (backward(dy) if input_grad else None, {})
