"""A layer around a layer, which takes its place in a composite to watch it or to change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnbackend.core.random import Generator
from nnbackend.core.types import Params, Shape

__all__ = ["LayerWrapper"]


@dataclass(frozen=True, eq=False)
class LayerWrapper:
    """A layer that is another one in all that a subclass does not define.

    Attributes:
        layer: the layer inside.
    """

    layer: Any

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the layer, which a composite around it may use."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.layer, name)

    def init(self, input_shape: Shape, rng: Generator) -> tuple[Params, Shape]:
        """Return the layer's parameters and its output's shape."""
        found: tuple[Params, Shape] = self.layer.init(input_shape, rng)
        return found
