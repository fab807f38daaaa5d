"""How parameters lie in memory while they are trained.

Where slices are views (NumPy, CuPy, torch) all parameters lie in one vector, and so do their gradients
and the optimizer's state: a step of the optimizer is then a few operations on one array instead of a
few for each parameter. Where they are not (JAX, whose compiler would have to copy), and for an
optimizer whose rule is not elementwise, each parameter stays an array of its own. Both do the same
arithmetic, and both are used alike: a layout has no arrays, it knows how to handle a ``carry``, which is
what a training step takes and returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from nnbackend.backends.base import Backend
from nnbackend.backends.program_cache import cached_program
from nnbackend.core.tree import at, leaves, paths, tree_map, unflatten
from nnbackend.core.types import Array, Namespace, Params
from nnbackend.optimizers import Optimizer
from nnbackend.optimizers.base import is_own
from nnbackend.training.loss_scaling import LossScaled, SkipNonFinite

__all__ = ["Layout", "layout_for"]


class Layout(Protocol):
    """What training asks of a layout."""

    def init(self, params: Params) -> Any:
        """Return the carry: a copy of the parameters, and the optimizer's arrays."""

    def params(self, carry: Any) -> Params:
        """Return the named parameters in a carry."""

    def result(self, carry: Any) -> Params:
        """Return the named parameters to evaluate with: the average, if the optimizer keeps one."""

    def update(self, carry: Any, grads: Params, scalars: tuple[Any, ...]) -> Any:
        """Return the carry after one step of the optimizer. The old one is consumed."""

    def snapshot(self, carry: Any, old: Any = None) -> Any:
        """Return a copy of the parameters, in the memory of an old one where that is possible."""

    def restored(self, carry: Any, snapshot: Any) -> Any:
        """Return the carry with the parameters of a snapshot."""

    def with_params(self, carry: Any, params: Params) -> Any:
        """Return the carry with copies of other parameters."""

    def finite(self, carry: Any) -> bool:
        """Return whether all parameters are finite."""

    def copy(self, carry: Any) -> Any:
        """Return a copy of a carry."""

    def slots(self, carry: Any) -> Params:
        """Return the optimizer's arrays: by number, then named as the parameters are."""

    def with_slots(self, carry: Any, slots: Params) -> Any:
        """Return the carry with copies of other arrays of the optimizer."""

    @property
    def see(self) -> Callable[[Any, Callable[[Array], Array]], Any] | None:
        """``see(carry, function)``: the carry with every array seen through a function.

        None if steps make a new carry instead of changing its arrays in place.
        """


def layout_for(backend: Backend, optimizer: Optimizer) -> Layout:
    """Return the layout that suits a backend and an optimizer."""
    if backend.scales_loss and not isinstance(optimizer, SkipNonFinite):
        return LossScaled(layout_for(backend, SkipNonFinite(optimizer)), backend)
    if not backend.slices_are_views:
        return _leaves(backend, optimizer)
    # A rule that is not elementwise needs to know where a parameter begins and ends.
    return (Vector if optimizer.elementwise else InPlace)(backend, optimizer)


class Leaves:
    """Each parameter an array of its own. The carry is the parameters and the optimizer's slots."""

    see = None

    def __init__(self, backend: Backend, optimizer: Optimizer) -> None:
        self._backend = backend
        self._optimizer = optimizer
        # An optimizer that users wrote may begin with more than a program can hold.
        self._begun = backend.compile(self._carry) if is_own(optimizer) else self._carry

    def init(self, params: Params) -> Any:
        """Return the carry."""
        return self._begun(params)

    def _carry(self, params: Params) -> Any:
        """Return copies of the parameters, and new slots."""
        return self._backend.copy_tree(params), self._optimizer.init(params)["slots"]

    def params(self, carry: Any) -> Params:
        """Return the named parameters."""
        return carry[0]  # type: ignore[no-any-return]

    def result(self, carry: Any) -> Params:
        """Return the optimizer's average, if it keeps one."""
        return self._optimizer.averaged(carry[0], {"slots": carry[1]})

    def update(self, carry: Any, grads: Params, scalars: tuple[Any, ...]) -> Any:
        """Apply the optimizer's rule to each parameter."""
        params, slots = carry
        return self._optimizer.apply(params, grads, slots, scalars)

    def snapshot(self, carry: Any, old: Any = None) -> Any:
        """Return a copy of the parameters, and of all that goes with an average of them."""
        return self.copy(carry) if self._optimizer.averages else self._backend.copy_tree(carry[0])

    def restored(self, carry: Any, snapshot: Any) -> Any:
        """Return the carry with what is in a snapshot."""
        if self._optimizer.averages:
            return self.copy(snapshot)
        return self._backend.copy_tree(snapshot), carry[1]

    def with_params(self, carry: Any, params: Params) -> Any:
        """Return the carry with copies of other parameters."""
        return self._backend.copy_tree(params), carry[1]

    def finite(self, carry: Any) -> bool:
        """Return whether all parameters are finite."""
        return all(self._backend.all_finite(leaf) for leaf in leaves(carry[0]))

    def copy(self, carry: Any) -> Any:
        """Return a copy of parameters and slots."""
        return tuple(map(self._backend.copy_tree, carry))

    def slots(self, carry: Any) -> Params:
        """Return the optimizer's arrays."""
        return carry[1]  # type: ignore[no-any-return]

    def with_slots(self, carry: Any, slots: Params) -> Any:
        """Return the carry with copies of other slots."""
        return carry[0], self._backend.copy_tree(slots)


# A layout has no arrays, but a compiled one has a program.
_leaves = cached_program(Leaves)


class InPlace(Leaves):
    """Each parameter an array of its own that stays the same array: what a step makes is put there."""

    def update(self, carry: Any, grads: Params, scalars: tuple[Any, ...]) -> Any:
        """Apply the optimizer's rule to each parameter."""
        for old, new in zip(carry, super().update(carry, grads, scalars), strict=True):
            for path in paths(old):
                if at(new, path) is not at(old, path):
                    at(old, path)[...] = at(new, path)
        return carry

    def see(self, carry: Any, function: Callable[[Array], Array]) -> Any:  # type: ignore[override]
        """Return the carry with every array seen through a function."""
        return tuple(tree_map(function, tree) for tree in carry)


class Vector:
    """All parameters in one vector, of which the named ones are views.

    The carry is a :class:`_Vectors`; it is changed in place. A vector too large for the processor's
    cache is updated piece by piece, so that the rule's many passes stay in it.
    """

    def __init__(self, backend: Backend, optimizer: Optimizer) -> None:
        self._backend = backend
        self._xp = backend.xp
        self._optimizer = optimizer
        self._averages = optimizer.averages
        self._prepares = type(optimizer).gradients is not Optimizer.gradients

    def init(self, params: Params) -> _Vectors:
        """Return the carry."""
        carry = _Vectors(params, self._optimizer.slots, self._backend.chunk, self._xp)
        if self._averages:
            carry.slots[-1][...] = carry.vector
        return carry

    def params(self, carry: _Vectors) -> Params:
        """Return the named parameters, views of the vector."""
        return carry.params

    def result(self, carry: _Vectors) -> Params:
        """Return the optimizer's average, if it keeps one, as views of its vector."""
        return carry.named(carry.slots[-1]) if self._averages else carry.params

    def update(self, carry: _Vectors, grads: Params, scalars: tuple[Any, ...]) -> _Vectors:
        """Apply the optimizer's rule to the vector."""
        if self._prepares:
            grads = self._optimizer.gradients(grads)
        for view, path in carry.gradients:
            view[...] = at(grads, path)
        for p, slots, g in carry.pieces:
            self._apply(p, g, slots, scalars)
        for path, pieces in carry.large:
            gradient = self._xp.reshape(at(grads, path), (-1,))
            for p, slots, part in pieces:
                self._apply(p, gradient[part], slots, scalars)
        return carry

    def _apply(
        self, p: Array, g: Array, slots: tuple[Array, ...], scalars: tuple[Any, ...]
    ) -> None:
        """Apply the rule to a piece of the vector."""
        new_p, new_slots = self._optimizer.rule(p, g, slots, scalars, self._xp)
        # Rules work in place; for one that does not, its results are copied into the vectors.
        if new_p is not p:
            p[...] = new_p
        for slot, new in zip(slots, new_slots, strict=True):
            if new is not slot:
                slot[...] = new

    def snapshot(self, carry: _Vectors, old: Any = None) -> Any:
        """Return copies of the vector and, if the optimizer keeps an average, of the slots."""
        kept = self._kept(carry)
        if old is None:
            return [self._xp.asarray(vector, copy=True) for vector in kept]
        for copy, vector in zip(old, kept, strict=True):
            copy[...] = vector
        return old

    def restored(self, carry: _Vectors, snapshot: Any) -> _Vectors:
        """Copy a snapshot into the vectors."""
        for vector, copy in zip(self._kept(carry), snapshot, strict=True):
            vector[...] = copy
        return carry

    def with_params(self, carry: _Vectors, params: Params) -> _Vectors:
        """Copy other parameters into the vector."""
        return _filled(carry, carry.params, params)

    def _kept(self, carry: _Vectors) -> list[Array]:
        return [carry.vector, *carry.slots] if self._averages else [carry.vector]

    def finite(self, carry: _Vectors) -> bool:
        """Return whether all parameters are finite."""
        return self._backend.all_finite(carry.vector)

    def copy(self, carry: _Vectors) -> _Vectors:
        """Return a copy of all vectors."""
        twin = self.init(carry.params)
        for old, new in zip(carry.slots, twin.slots, strict=True):
            new[...] = old
        return twin

    def slots(self, carry: _Vectors) -> Params:
        """Return the optimizer's arrays, views of its vectors."""
        return {str(i): carry.named(slot) for i, slot in enumerate(carry.slots)}

    def with_slots(self, carry: _Vectors, slots: Params) -> _Vectors:
        """Copy other slots into the vectors."""
        return _filled(carry, self.slots(carry), slots)

    def see(self, carry: _Vectors, function: Callable[[Array], Array]) -> _Vectors:
        """Return the carry with every array, and every view, seen through a function."""
        return carry.seen(function)


class _Vectors:
    """The vectors of a network in training, and the views into them.

    Gradients of small parameters are gathered in a vector, so that the rule runs once for all of
    them. A parameter larger than a chunk takes its gradient from where it is.

    Attributes:
        vector: all parameters, the large ones first.
        slots: the optimizer's arrays.
        params: the named parameters, views of ``vector``.
        gradients: for each small parameter the place for its gradient, and its path.
        pieces: of the small parameters: parameters, slots and gradients.
        large: for each large parameter its path, and its pieces with their place in its gradient.
    """

    def __init__(self, params: Params, slots: int, chunk: int | None, xp: Namespace) -> None:
        sizes = {path: math.prod(at(params, path).shape) for path in paths(params)}
        large = [path for path, size in sizes.items() if chunk is not None and size > chunk]
        small = [path for path in sizes if path not in large]
        flat = [xp.reshape(at(params, path), (-1,)) for path in (*large, *small)]
        self.vector = xp.concat(flat)
        self.slots = [xp.zeros_like(self.vector) for _ in range(slots)]
        self._xp, self._nesting = xp, tree_map(lambda leaf: None, params)
        self._places: dict[str, tuple[slice, tuple[int, ...]]] = {}
        self.large, start = [], 0
        for path in (*large, *small):
            stop = start + sizes[path]
            self._places[".".join(path)] = slice(start, stop), at(params, path).shape
            if path in large:
                parts = _parts(start, stop, chunk)
                pieces = [(*self._piece(p), slice(p.start - start, p.stop - start)) for p in parts]
                self.large.append((path, pieces))
            start = stop
        self.params = self.named(self.vector)
        first = sum(sizes[path] for path in large)
        gradient = xp.zeros_like(self.vector[first:])
        self.pieces = [
            (*self._piece(p), gradient[p.start - first : p.stop - first])
            for p in _parts(first, start, chunk)
        ]
        self.gradients, start = [], 0
        for path in small:
            stop = start + sizes[path]
            view = xp.reshape(gradient[start:stop], at(params, path).shape, copy=False)
            self.gradients.append((view, path))
            start = stop

    def named(self, vector: Array) -> Params:
        """Return views of a vector, shaped and named as the parameters are."""
        views = {
            name: self._xp.reshape(vector[part], shape, copy=False)
            for name, (part, shape) in self._places.items()
        }
        return unflatten(views, self._nesting)

    def seen(self, function: Callable[[Array], Array]) -> _Vectors:
        """Return the same vectors and views, each seen through a function."""

        def piece(p: Array, slots: tuple[Array, ...], third: Any) -> tuple[Any, ...]:
            return function(p), tuple(map(function, slots)), third

        twin: _Vectors = object.__new__(_Vectors)
        twin.vector = function(self.vector)
        twin.slots = [function(slot) for slot in self.slots]
        twin.params = tree_map(function, self.params)
        twin.gradients = [(function(view), path) for view, path in self.gradients]
        twin.pieces = [piece(p, slots, function(g)) for p, slots, g in self.pieces]
        twin.large = [(path, [piece(*part) for part in parts]) for path, parts in self.large]
        return twin

    def _piece(self, part: slice) -> tuple[Array, tuple[Array, ...]]:
        """Return a part of the parameters and of the slots."""
        return self.vector[part], tuple(slot[part] for slot in self.slots)


def _parts(start: int, stop: int, chunk: int | None) -> list[slice]:
    """Return the range in parts of at most ``chunk``."""
    if start == stop:
        return []
    size = chunk or stop - start
    return [slice(a, min(a + size, stop)) for a in range(start, stop, size)]


def _filled(carry: _Vectors, own: Params, other: Params) -> _Vectors:
    """Copy other values into views of the vectors."""
    for path in paths(own):
        at(own, path)[...] = at(other, path)
    return carry
