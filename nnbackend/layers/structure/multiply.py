"""The product of several inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

from nnbackend.core.tree import arrays_in
from nnbackend.core.types import Array, Arrays, Context
from nnbackend.layers.base import register_layer
from nnbackend.layers.structure.merging import Merging
from nnbackend.layers.structure.several import nested_like

__all__ = ["Multiply"]


@register_layer
@dataclass(frozen=True)
class Multiply(Merging):
    """The product of several inputs of the same shape: ``y = a * b * ...``.

    ``da`` is ``dy`` times the product of the others, which is computed without a division: numbers
    may be zero.

    Raises:
        ValueError: when the network is built, if there is one input only, or the shapes differ.
    """

    def apply(self, x: Arrays, ctx: Context) -> tuple[Array, Callable[[Array], Arrays]]:
        """Return the product."""
        arrays, like = arrays_in(x), nested_like(x)
        before = list(accumulate(arrays, mul))  # the products up to each

        def backward(dy: Array) -> Arrays:
            gradients, after = [], dy
            for i in reversed(range(1, len(arrays))):
                gradients.append(after * before[i - 1])
                after = after * arrays[i]
            return like([after, *reversed(gradients)])

        return before[-1], backward
