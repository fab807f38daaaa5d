"""The base of layers that compute one array of several of the same shape."""

from __future__ import annotations

from typing import ClassVar

from nnbackend.core.shapes import Shapes
from nnbackend.core.types import Shape
from nnbackend.layers.base import Parameterless
from nnbackend.layers.structure.several import shapes_in

__all__ = ["Merging"]


class Merging(Parameterless):
    """A layer without parameters of a tuple or a dictionary of arrays of the same shape."""

    takes: ClassVar[str] = "numbers"  # of each input

    def output_shape(self, input_shape: Shapes) -> Shape:
        """Return the shape of one input, which is that of all.

        Raises:
            ValueError: there is one input only, or the shapes differ.
        """
        name = type(self).__name__
        shapes = shapes_in(input_shape, name)
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(
                f"{name} takes inputs of the same shape, got {', '.join(map(str, shapes))}"
            )
        return shapes[0]
