"""An activation that each feature has to a learned degree."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend import activations
from nnbackend.activations import ActivationFunction
from nnbackend.core.checks import convert_fields, set_size
from nnbackend.core.types import Array, Backward, Context, Params
from nnbackend.layers.base import register_layer
from nnbackend.layers.tabular.last_axes import LastAxesWeight, total_over_rows

__all__ = ["ParametricActivation"]


@register_layer
@dataclass(frozen=True)
class ParametricActivation(LastAxesWeight):
    """An activation mixed with the identity: ``y = x + weight * (f(x) - x)``.

    The shapes of ``x`` and ``y`` are the same; ``weight`` has that of the last axes of a row. It is one
    at the beginning, where ``y = f(x)``; at zero ``y = x``::

        dweight = sum of dy * (f(x) - x) over the batch, and over the axes before the last ones
        dx      = dy * (1 - weight) + dy * weight * f'(x)

    Args:
        function: ``f``, a name or an object of :mod:`nnbackend.activations`.
        axes: the number of last axes that have a number for each place; default 1: one for each
            feature. With 2 each of several members, rows of shape (members, features), has its own.

    Raises:
        UnknownNameError: no activation has that name.
        ValueError: ``axes`` is below 1; or, when the network is built, rows have fewer axes.

    Source: Holzmüller, Grinsztajn, Steinwart (2024), Better by Default, arXiv:2407.04491.
    """

    function: str | ActivationFunction
    axes: int = 1

    def __post_init__(self) -> None:
        convert_fields(self, function=activations.get)
        set_size(self, "axes")

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``x + weight * (f(x) - x)``."""
        weight = params["weight"]
        active, function_backward = self.function(x, ctx)  # type: ignore[operator]
        change = active - x
        y = weight * change
        y += x

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            grads = {"weight": total_over_rows(dy * change, self.axes, ctx)}
            if not input_grad:
                return None, grads
            through = dy * weight
            dx = dy - through
            dx += function_backward(through)
            return dx, grads

        return y, backward
