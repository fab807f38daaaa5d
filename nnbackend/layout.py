"""How parameters lie in memory while they are trained.

Where slices are views (NumPy, CuPy, torch) all parameters lie in one vector, and so do their gradients
and the optimiser's state: a step of the optimiser is then a few operations on one array instead of a
few for each parameter. Where they are not (JAX, whose compiler would have to copy), each parameter
stays an array of its own. Both kinds do the same arithmetic.
"""

from __future__ import annotations

import math
from typing import Any

from nnbackend.backend import Backend
from nnbackend.optimizers import Optimizer
from nnbackend.tree import at, paths, tree_map, unflatten
from nnbackend.types import Array, Params

__all__ = ["Leaves", "Vector", "layout_for"]


def layout_for(backend: Backend, params: Params, optimizer: Optimizer) -> Leaves | Vector:
    """Return the layout that suits the backend, holding a copy of ``params``."""
    if backend.slices_are_views and any(True for _ in paths(params)):
        return Vector(backend, params, optimizer)
    return Leaves(backend, params, optimizer)


class Leaves:
    """Each parameter an array of its own.

    ``carry`` is what a training step takes and returns: the parameters and the optimiser's arrays.
    """

    def __init__(self, backend: Backend, params: Params, optimizer: Optimizer) -> None:
        self._xp = backend.xp
        self._optimizer = optimizer
        params = tree_map(lambda p: self._xp.asarray(p, copy=True), params)
        slots = optimizer.init(params)["slots"]
        self.carry: tuple[Any, Any] = (params, slots)

    def params(self, carry: tuple[Any, Any]) -> Params:
        """Return the named parameters."""
        return carry[0]  # type: ignore[no-any-return]

    def update(
        self, carry: tuple[Any, Any], grads: Params, scalars: tuple[Any, ...]
    ) -> tuple[Any, Any]:
        """Return the carry after one step of the optimiser."""
        params, slots = carry
        new: dict[str, Array] = {}
        new_slots: list[dict[str, Array]] = [{} for _ in slots]
        for path in paths(params):
            name = ".".join(path)
            own = tuple(at(slots[str(i)], path) for i in range(len(slots)))
            p, own = self._optimizer.rule(at(params, path), at(grads, path), own, scalars, self._xp)
            new[name] = p
            for i, slot in enumerate(own):
                new_slots[i][name] = slot
        trees = {str(i): unflatten(flat, params) for i, flat in enumerate(new_slots)}
        return unflatten(new, params), trees

    def snapshot(self) -> Params:
        """Return a copy of the parameters."""
        return tree_map(lambda p: self._xp.asarray(p, copy=True), self.carry[0])

    def restore(self, snapshot: Params) -> None:
        """Set the parameters to those of a snapshot."""
        self.carry = (tree_map(lambda p: self._xp.asarray(p, copy=True), snapshot), self.carry[1])

    def finite(self, snapshot: Params | None = None) -> bool:
        """Return whether all parameters, or those of a snapshot, are finite."""
        params = self.carry[0] if snapshot is None else snapshot
        xp = self._xp
        return all(bool(xp.all(xp.isfinite(at(params, path)))) for path in paths(params))


class Vector:
    """All parameters in one vector, of which the named ones are views.

    The vectors are changed in place, so ``carry`` is always the same.
    """

    def __init__(self, backend: Backend, params: Params, optimizer: Optimizer) -> None:
        self._xp = xp = backend.xp
        self._optimizer = optimizer
        self._paths = list(paths(params))
        flat = [xp.reshape(at(params, path), (-1,)) for path in self._paths]
        self._vector = xp.concat(flat)
        self._gradient = xp.zeros_like(self._vector)
        slots = [xp.zeros_like(self._vector) for _ in range(optimizer.slots)]
        self._tree = self._views(self._vector, params)
        gradients = self._views(self._gradient, params)
        self._gradients = [at(gradients, path) for path in self._paths]
        total = self._vector.shape[0]
        size = backend.chunk or total
        self._chunks = [
            [array[a : min(a + size, total)] for array in (self._vector, self._gradient, *slots)]
            for a in range(0, total, size)
        ]
        self.carry: tuple[Any, Any] = (None, None)

    def _views(self, vector: Array, params: Params) -> Params:
        """Return the parts of ``vector``, nested and shaped as ``params`` are."""
        views: dict[str, Array] = {}
        start = 0
        for path in self._paths:
            shape = at(params, path).shape
            part = vector[start : start + math.prod(shape)]
            views[".".join(path)] = self._xp.reshape(part, shape, copy=False)
            start += math.prod(shape)
        return unflatten(views, params)

    def params(self, carry: tuple[Any, Any]) -> Params:
        """Return the named parameters, views of the vector."""
        return self._tree

    def update(
        self, carry: tuple[Any, Any], grads: Params, scalars: tuple[Any, ...]
    ) -> tuple[Any, Any]:
        """Do one step of the optimiser, piece by piece of the vector."""
        for view, path in zip(self._gradients, self._paths, strict=True):
            view[...] = at(grads, path)
        rule, xp = self._optimizer.rule, self._xp
        for p, g, *slots in self._chunks:
            new = rule(p, g, tuple(slots), scalars, xp)
            # Rules work in place; for one that does not, its results are copied into the vectors.
            for old, value in zip((p, *slots), (new[0], *new[1]), strict=True):
                if value is not old:
                    old[...] = value
        return carry

    def snapshot(self) -> Array:
        """Return a copy of the vector."""
        return self._xp.asarray(self._vector, copy=True)

    def restore(self, snapshot: Array) -> None:
        """Set the parameters to those of a snapshot."""
        self._vector[...] = snapshot

    def finite(self, snapshot: Array | None = None) -> bool:
        """Return whether all parameters, or those of a snapshot, are finite."""
        vector = self._vector if snapshot is None else snapshot
        return bool(self._xp.all(self._xp.isfinite(vector)))
