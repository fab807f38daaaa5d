"""The mean of several inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from nnbackend.core.tree import arrays_in, map_arrays
from nnbackend.core.types import Array, Arrays, Context
from nnbackend.layers.base import register_layer
from nnbackend.layers.structure.merging import Merging

__all__ = ["Average"]


@register_layer
@dataclass(frozen=True)
class Average(Merging):
    """The mean of ``n`` inputs of the same shape: ``y = (a + b + ...) / n``; ``da = dy / n``.

    Raises:
        ValueError: when the network is built, if there is one input only, or the shapes differ.
    """

    def apply(self, x: Arrays, ctx: Context) -> tuple[Array, Callable[[Array], Arrays]]:
        """Return the mean."""
        places, arrays = map_arrays(lambda _: 0, x), arrays_in(x)
        share = 1.0 / len(arrays)

        def backward(dy: Array) -> Arrays:
            dx = share * dy
            return map_arrays(lambda _: dx, places)

        return share * reduce(lambda a, b: a + b, arrays), backward
