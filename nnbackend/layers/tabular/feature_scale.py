"""A learned scale of each feature."""

from __future__ import annotations

from dataclasses import dataclass

from nnbackend.core.checks import set_size
from nnbackend.core.types import Array, Backward, Context, Params
from nnbackend.layers.base import register_layer
from nnbackend.layers.tabular.last_axes import LastAxesWeight, total_over_rows

__all__ = ["FeatureScale"]


@register_layer
@dataclass(frozen=True)
class FeatureScale(LastAxesWeight):
    """Multiply each feature by a learned number: ``y = x * weight``.

    The shapes of ``x`` and ``y`` are the same; ``weight``, one at the beginning, has that of the last
    axes of a row::

        dweight = sum of dy * x over the batch, and over the axes before the last ones
        dx      = dy * weight

    In front of a network it lets training choose among the inputs; RealMLP gives it a learning rate six
    times as large.

    Args:
        axes: the number of last axes that have a number for each place; default 1: one for each
            feature. With 2 each of several members, rows of shape (members, features), has its own.

    Raises:
        ValueError: ``axes`` is below 1; or, when the network is built, rows have fewer axes.

    Source: Holzmüller, Grinsztajn, Steinwart (2024), Better by Default, arXiv:2407.04491.
    """

    axes: int = 1

    def __post_init__(self) -> None:
        set_size(self, "axes")

    def forward(self, params: Params, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return ``x * weight``."""
        weight = params["weight"]

        def backward(dy: Array, input_grad: bool = True) -> tuple[Array | None, Params]:
            grads = {"weight": total_over_rows(dy * x, self.axes, ctx)}
            return (dy * weight if input_grad else None), grads

        return x * weight, backward
