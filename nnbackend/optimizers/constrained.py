"""Constraints: parameters brought back to where they may be after each update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nnbackend.core.layer_tree import weights_with
from nnbackend.core.types import Array, Namespace
from nnbackend.errors import given
from nnbackend.optimizers.base import Slots, Updated
from nnbackend.optimizers.numbers import Numbers
from nnbackend.optimizers.prepared import Group, Known
from nnbackend.optimizers.wrapper import Wrapper

__all__ = ["Constrained"]


@dataclass(frozen=True)
class Constrained(Wrapper):
    """Apply the constraints of layers after each update.

    ``fit`` and ``partial_fit`` do so by themselves; this is for a loop that you write:
    ``optimizer = Constrained(Adam(1e-3), network.layers)``.

    Args:
        optimizer: the optimizer that makes the update, an object or a name.
        layers: the layers whose constraints to apply; or pairs of a dotted name and a constraint.

    >>> import numpy as np
    >>> from nnbackend.optimizers import SGD
    >>> optimizer = Constrained(SGD(0.1), (("weight", lambda w: np.maximum(w, 0.0)),))
    >>> params, grads = {"weight": np.array([1.0, 0.1])}, {"weight": np.array([2.0, 2.0])}
    >>> optimizer.update(params, grads, optimizer.init(params))[0]["weight"]
    array([0.8, 0. ])
    """

    elementwise = False  # a constraint may look at rows or columns

    layers: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.layers, tuple):
            object.__setattr__(self, "layers", weights_with("constraint", self.layers))

    def partition(self, params: Mapping[str, Array], known: Known) -> tuple[Group, ...]:
        """Return the groups of the optimizer inside, and one for each parameter with a constraint."""
        constraints: dict[str, list[Any]] = {}
        for name, constraint in self.layers:
            constraints.setdefault(name, []).append((name, constraint))
        groups = []
        for group in self.inner.partition(params, known):
            others = tuple(name for name in group.names if name not in constraints)
            if others:
                groups.append(replace(group, names=others))
            for name in group.names:
                if name in constraints:
                    rule = replace(self, optimizer=group.rule, layers=tuple(constraints[name]))
                    groups.append(replace(group, names=(name,), rule=rule))
        return tuple(groups)

    def rule(self, p: Array, g: Array, slots: Slots, h: Numbers, xp: Namespace) -> Updated:
        """Apply the rule inside to a parameter, then its constraints, of which ``layers`` are pairs."""
        p, slots = self.inner.rule(p, g, slots, h, xp)
        shape = p.shape
        for name, constraint in self.layers:
            p = constraint(p)
            if getattr(p, "shape", None) != shape:
                raise ValueError(
                    f"the constraint of {name} must return an array of shape {tuple(shape)}, and "
                    f"returned {given(p)}"
                )
        return p, slots
