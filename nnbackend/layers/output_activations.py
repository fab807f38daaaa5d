"""The output activations of a network with several outputs, apart from its layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nnbackend.core.types import Array, Arrays, Context

__all__ = ["OutputActivations"]


@dataclass(frozen=True)
class OutputActivations:
    """Activations of some of several outputs; it is called like an activation, with all outputs.

    Args:
        activations: the place of an output, its key or its number in a tuple, with its activation.
    """

    activations: tuple[tuple[str | int, Any], ...]

    def of(self, place: str | int) -> Any:
        """Return the activation of an output, or None."""
        return next((each for key, each in self.activations if key == place), None)

    def __call__(self, z: Arrays, ctx: Context) -> tuple[Arrays, Callable[[Arrays], Arrays]]:
        """Return the outputs after their activations, and the backward pass."""
        backwards: dict[str | int, Callable[[Array], Array]] = {}
        found: dict[str | int, Array] = {}
        for place, activation in self.activations:
            found[place], backwards[place] = activation(z[place], ctx)

        def backward(dy: Arrays) -> Arrays:
            return _replaced(dy, {place: undo(dy[place]) for place, undo in backwards.items()})

        return _replaced(z, found), backward


def _replaced(arrays: Arrays, new: dict[str | int, Array]) -> Arrays:
    """Return a dictionary or a tuple with other arrays in some places."""
    if isinstance(arrays, dict):
        return {name: new.get(name, array) for name, array in arrays.items()}
    return tuple(new.get(i, array) for i, array in enumerate(arrays))
