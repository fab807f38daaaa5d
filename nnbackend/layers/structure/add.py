"""The sum of several inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from nnbackend.core.tree import arrays_in, map_arrays
from nnbackend.core.types import Array, Arrays, Context
from nnbackend.layers.base import register_layer
from nnbackend.layers.structure.merging import Merging

__all__ = ["Add"]


@register_layer
@dataclass(frozen=True)
class Add(Merging):
    """The sum of several inputs of the same shape: ``y = a + b + ...``; ``dy`` goes to each.

    Raises:
        ValueError: when the network is built, if there is one input only, or the shapes differ.
    """

    def apply(self, x: Arrays, ctx: Context) -> tuple[Array, Callable[[Array], Arrays]]:
        """Return the sum."""
        places = map_arrays(lambda _: 0, x)
        y = reduce(lambda a, b: a + b, arrays_in(x))
        return y, lambda dy: map_arrays(lambda _: dy, places)
