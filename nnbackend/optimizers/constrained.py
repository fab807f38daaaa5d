"""Constraints: parameters brought back to where they may be after each update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from nnbackend.core.layer_tree import weights_with
from nnbackend.core.tree import flatten, unflatten
from nnbackend.core.types import Params
from nnbackend.optimizers.wrapper import Wrapper

__all__ = ["Constrained"]


@dataclass(frozen=True)
class Constrained(Wrapper):
    """Apply the constraints of layers after each update.

    ``fit`` and ``partial_fit`` do so by themselves; this is for a loop of one's own:
    ``optimizer = Constrained(Adam(1e-3), network.layers)``.

    Args:
        optimizer: what makes the update, an object or a name.
        layers: whose constraints to apply; or pairs of a dotted name and a constraint.
    """

    elementwise: ClassVar[bool] = False

    layers: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.layers, tuple):
            object.__setattr__(self, "layers", weights_with("constraint", self.layers))

    def apply(
        self, params: Params, grads: Params, slots: Params, scalars: tuple[Any, ...]
    ) -> tuple[Params, Params]:
        """Apply the optimizer inside, then the constraints."""
        params, slots = self.inner.apply(params, grads, slots, scalars)
        flat = flatten(params)
        for name, constraint in self.layers:
            if name in flat:  # a frozen one is not
                flat[name] = constraint(flat[name])
        return unflatten(flat, params), slots
