"""Where parameters and the optimizer's arrays are in memory while a network is trained.

Where slices are views (NumPy, CuPy, torch) all parameters are in one vector, each group in a range, and
so are the optimizer's arrays: a step of the optimizer is then a few operations on one range. Where they
are not (JAX, whose compiler would have to copy), each parameter stays a separate array. Both do the same
arithmetic. A layout has no arrays: it handles a ``storage``, a part of a training step's carry.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from nnbackend.backends.base import Backend
from nnbackend.backends.program_cache import cached_program
from nnbackend.core.tree import flatten, leaves, overwrite_arrays, tree_map, unflatten
from nnbackend.core.types import Array, Namespace, Params
from nnbackend.optimizers.base import is_own
from nnbackend.optimizers.prepared import Group, Prepared, named_slots
from nnbackend.training import loss_scaling
from nnbackend.training.loss_scaling import SkipNonFinite

__all__ = ["Layout", "VectorLayout", "layout_for"]


def layout_for(backend: Backend, optimizer: Prepared) -> Layout:
    """Return the layout that suits a backend, for an optimizer."""
    return (VectorLayout if backend.slices_are_views else _layout)(backend, optimizer)


class Storage(NamedTuple):
    """Parameters, the optimizer's arrays and the state of the loss scale, each array by itself."""

    params: Params
    arrays: Params
    loss_scale: Params


class Layout:
    """A separate array for each parameter. An update makes new ones."""

    in_place = False
    """Whether an update changes the arrays of a storage, instead of making a new one."""

    def __init__(self, backend: Backend, optimizer: Prepared) -> None:
        self._backend, self._xp = backend, backend.xp
        self._optimizer = optimizer
        if backend.scales_loss:
            self._optimizer = optimizer.with_rules(SkipNonFinite)
        self._by_rows = optimizer.by_rows
        self._begin = self._new
        # An optimizer that users wrote may begin with more than a program can hold.
        if not self.in_place and all(is_own(group.rule) for group in self._optimizer.groups):
            self._begin = backend.compile(self._new)

    def init(self, params: Params) -> Any:
        """Return the storage: a copy of the parameters, and the optimizer's arrays."""
        return self._begin(params)

    def _new(self, params: Params) -> Any:
        arrays = self._optimizer.init(params)
        return Storage(self._backend.copy_tree(params), arrays, self._first_scale())

    def _first_scale(self) -> Params:
        return loss_scaling.init(self._backend) if self._backend.scales_loss else {}

    def params(self, storage: Any) -> Params:
        """Return the named parameters."""
        return storage.params  # type: ignore[no-any-return]

    def result(self, storage: Any) -> Params:
        """Return the named parameters to evaluate with: the average, if the optimizer keeps one."""
        params: Params = storage.params
        if not self._optimizer.averages:
            return params
        return self._optimizer.averaged(params, self.slots(storage))

    def scale(self, storage: Any) -> Array | None:
        """Return the factor of the gradient at the output; None: there is none."""
        return storage.loss_scale.get("scale")

    def update(self, storage: Any, grads: Params, numbers: Any) -> Any:
        """Return the storage after one step of the optimizer. The old one is consumed.

        The gradients are nested as the parameters are; those of frozen ones may be missing. The numbers
        are a row of ``Prepared.number_rows``, or an array of it.
        """
        h, flat, scale = self._optimizer.numbers_from(numbers), flatten(grads), storage.loss_scale
        rows = {name: flat[name].summed(self._backend) for name in self._by_rows}
        flat |= {name: summed.values for name, summed in rows.items()}
        if scale:
            finite, scale = loss_scaling.after_step(scale, flat, self._xp)
            for each in h:
                each.finite = finite
        changed: dict[str, Any] = self._optimizer.transform_gradients(flat, h)
        for name, summed in rows.items():
            changed[name] = replace(summed, values=changed[name])
        return self._updated(storage, changed, h, scale)

    def _updated(self, storage: Any, grads: dict[str, Array], h: list[Any], scale: Params) -> Any:
        """Return the storage with the rules applied, and with a new loss scale."""
        params, arrays = self._optimizer.apply_rules(storage.params, grads, storage.arrays, h)
        return Storage(params, arrays, scale)

    def snapshot(self, storage: Any, old: Any = None) -> Any:
        """Return a copy of the parameters and of all that goes with an average of them.

        It is in the memory of an ``old`` one where that is possible.
        """
        return self._copied(storage.params), self._copied(self._kept(storage))

    def restored(self, storage: Any, snapshot: Any) -> Any:
        """Return the storage with the parameters of a snapshot."""
        params, kept = map(self._copied, snapshot)
        return Storage(params, kept or storage.arrays, storage.loss_scale)

    def _kept(self, storage: Any) -> Any:
        """Return the optimizer's arrays that go with an average of parameters, if it keeps one."""
        return storage.arrays if self._optimizer.averages else {}

    def with_params(self, storage: Any, params: Params) -> Any:
        """Return the storage with copies of other parameters."""
        return storage._replace(params=self._copied(params))

    def slots(self, storage: Any) -> Params:
        """Return the optimizer's arrays, and the state of the loss scale, named as in files."""
        scale = storage.loss_scale
        return self._named_arrays(storage) | ({"loss_scale": scale} if scale else {})

    def _named_arrays(self, storage: Any) -> Params:
        return storage.arrays  # type: ignore[no-any-return]

    def with_slots(self, storage: Any, slots: Params) -> Any:
        """Return the storage with copies of other arrays of the optimizer."""
        arrays = self._copied(slots)
        scale = arrays.pop("loss_scale", {})
        return Storage(storage.params, arrays, scale)

    def _copied(self, tree: Params) -> Params:
        return self._backend.copy_tree(tree)

    def finite(self, storage: Any) -> bool:
        """Return whether all parameters are finite, and the gradients of late were."""
        scale = self.scale(storage)
        return (scale is None or loss_scaling.is_possible(scale)) and all(
            map(self._backend.all_finite, self._vectors(storage))
        )

    def _vectors(self, storage: Any) -> list[Array]:
        """Return the arrays that have all parameters."""
        return leaves(storage.params)

    def copy(self, storage: Any) -> Any:
        """Return a copy of a storage."""
        return self.with_slots(self.init(storage.params), self.slots(storage))


# A layout has no arrays, but a compiled one has a program.
_layout = cached_program(Layout)


class VectorLayout(Layout):
    """All parameters in one vector, of which the named ones are views. An update changes it in place.

    A vector too large for the processor's cache is updated piece by piece, so that the rule's many
    passes stay in it. A rule that is not elementwise gets the view of each parameter.
    """

    in_place = True

    def __init__(self, backend: Backend, optimizer: Prepared) -> None:
        super().__init__(backend, optimizer)
        rules = [group.rule for group in self._optimizer.groups]
        self._rules: list[Any] = [
            backend.fuse_rule(own.rule) if own.elementwise else own.rule for own in rules
        ]

    def _new(self, params: Params) -> Any:
        groups, chunk = self._optimizer.groups, self._backend.chunk
        return VectorStorage(params, groups, chunk, self._first_scale(), self._xp)

    def _updated(self, storage: Any, grads: dict[str, Array], h: list[Any], scale: Params) -> Any:
        """Apply the rule of each group to its range."""
        for view, name in storage.gathered:
            view[...] = grads[name]
        for piece in storage.pieces:
            g = piece.gradient
            if g is None:
                g = grads[piece.name]
                if piece.part is not None:
                    g = self._xp.reshape(g, (-1,))[piece.part]
            rule = self._rules[piece.group]
            new_p, new_slots = rule(piece.p, g, piece.slots, h[piece.group], self._xp)
            # Rules work in place; what one does not, is copied into the vectors.
            if not (new_p is piece.p and all(map(operator.is_, new_slots, piece.slots))):
                overwrite_arrays((piece.p, *piece.slots), (new_p, *new_slots), self._xp)
        for name, array in scale.items():
            if array is not storage.loss_scale[name]:
                storage.loss_scale[name][...] = array
        return storage

    def snapshot(self, storage: Any, old: Any = None) -> Any:
        """Return copies of the vector and, if the optimizer keeps an average, of all its arrays."""
        vectors = self._vectors(storage) + self._kept(storage)
        if old is None:
            return [self._xp.asarray(vector, copy=True) for vector in vectors]
        for copy, vector in zip(old, vectors, strict=True):
            copy[...] = vector
        return old

    def restored(self, storage: Any, snapshot: Any) -> Any:
        """Copy a snapshot into the vectors."""
        vectors = self._vectors(storage) + self._kept(storage)
        for vector, copy in zip(vectors, snapshot, strict=True):
            vector[...] = copy
        return storage

    def _kept(self, storage: Any) -> Any:
        return [s for own in storage.slots for s in own] if self._optimizer.averages else []

    def with_params(self, storage: Any, params: Params) -> Any:
        """Copy other parameters into the vector."""
        _fill(storage.params, params)
        return storage

    def _named_arrays(self, storage: Any) -> Params:
        groups = self._optimizer.groups
        number = {name: i for i, group in enumerate(groups) for name in group.names}

        def array(_: Group, name: str, slot: int) -> Array:
            i = number[name]
            return storage.view(storage.slots[i][slot], name, storage.starts[i])

        return named_slots(groups, storage.params, array)

    def with_slots(self, storage: Any, slots: Params) -> Any:
        """Copy other arrays into the vectors."""
        _fill(self.slots(storage), slots)
        return storage

    def _vectors(self, storage: Any) -> list[Array]:
        return [storage.vector]


class Piece(NamedTuple):
    """What a rule is applied to at once: part of the vector of parameters, or a view of one of them."""

    group: int
    p: Array
    slots: tuple[Array, ...]
    gradient: (
        Array | None
    )  # of several parameters; None: take it from where the backward pass left it
    name: str = ""  # whose gradient to take
    part: slice | None = None  # the part of it, flat; None: all of it in its shape


class VectorStorage:
    """The vectors of a network in training, and the views into them.

    The parameters of a group are in one range of the vector, the large ones first; those that no group
    has, which stay unchanged, come last. Gradients of small parameters are gathered in a vector, so
    that the rule runs once for all of them. A parameter larger than a chunk takes its gradient from
    where the backward pass left it.

    Attributes:
        vector: all parameters.
        starts: where the range of each group begins.
        slots: the optimizer's arrays of each group.
        params: the named parameters, views of ``vector``.
        gathered: for each small parameter the place for its gradient, and its name.
        pieces: what the rules are applied to.
        loss_scale: the state of the loss scale; ``{}`` without.
    """

    def __init__(
        self,
        params: Params,
        groups: tuple[Group, ...],
        chunk: int | None,
        loss_scale: Params,
        xp: Namespace,
    ) -> None:
        flat = flatten(params)
        shapes = {name: tuple(p.shape) for name, p in flat.items()}
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        limit = math.inf if chunk is None else chunk
        ranges = [sorted(group.names, key=lambda n: sizes[n] <= limit) for group in groups]
        moving = [name for names in ranges for name in names]
        order = [*moving, *(name for name in flat if name not in moving)]
        self._xp, self._places, start = xp, dict[str, tuple[int, int, tuple[int, ...]]](), 0
        for name in order:
            self._places[name] = start, start + sizes[name], shapes[name]
            start += sizes[name]
        self.vector = xp.concat([xp.reshape(flat[name], (-1,)) for name in order])
        views = {name: self.view(self.vector, name) for name in flat}
        self.params, self.loss_scale = unflatten(views, params), loss_scale
        self.starts, self.slots = list[int](), list[list[Array]]()
        self.gathered, self.pieces, start = list[tuple[Array, str]](), list[Piece](), 0
        for i, (group, names) in enumerate(zip(groups, ranges, strict=True)):
            stop = start + sum(sizes[name] for name in group.names)
            own = [xp.zeros_like(self.vector[start:stop]) for _ in group.state]
            if group.rule.averages:
                own[-1][...] = self.vector[start:stop]
            self.starts.append(start)
            self.slots.append(own)
            if group.rule.elementwise:
                self._add_large(i, [name for name in names if sizes[name] > limit], chunk)
                self._add_small(i, [name for name in names if sizes[name] <= limit], chunk)
            else:
                self._add_whole(i, group.names)
            start = stop

    def view(self, vector: Array, name: str, origin: int = 0) -> Array:
        """Return a parameter's part of a vector, which is the range from ``origin`` on, in its shape."""
        start, stop, shape = self._places[name]
        return self._xp.reshape(vector[start - origin : stop - origin], shape, copy=False)

    def mapped(self, function: Callable[[Array], Array]) -> VectorStorage:
        """Return the vectors and views with a function applied to each."""
        twin: VectorStorage = object.__new__(VectorStorage)
        vars(twin).update(vars(self))
        twin.vector = function(self.vector)
        twin.slots = [[function(slot) for slot in own] for own in self.slots]
        twin.params = tree_map(function, self.params)
        twin.loss_scale = tree_map(function, self.loss_scale)
        twin.gathered = [(function(view), name) for view, name in self.gathered]
        twin.pieces = [
            piece._replace(
                p=function(piece.p),
                slots=tuple(map(function, piece.slots)),
                gradient=None if piece.gradient is None else function(piece.gradient),
            )
            for piece in self.pieces
        ]
        return twin

    def _add_whole(self, group: int, names: tuple[str, ...]) -> None:
        """Add a piece for each parameter in its shape."""
        origin, own = self.starts[group], self.slots[group]
        for name in names:
            slots = tuple(self.view(slot, name, origin) for slot in own)
            self.pieces.append(Piece(group, self.view(self.vector, name), slots, None, name))

    def _add_large(self, group: int, names: list[str], chunk: int | None) -> None:
        """Add the pieces of parameters that take their gradient from where it is."""
        for name in names:
            start, stop, _ = self._places[name]
            for part in _parts(start, stop, chunk):
                where = slice(part.start - start, part.stop - start)
                self.pieces.append(Piece(group, *self._piece(group, part), None, name, where))

    def _add_small(self, group: int, names: list[str], chunk: int | None) -> None:
        """Add the pieces of parameters whose gradients are gathered."""
        if not names:
            return
        start, stop = self._places[names[0]][0], self._places[names[-1]][1]
        gradient = self._xp.zeros_like(self.vector[start:stop])
        self.gathered += [(self.view(gradient, name, start), name) for name in names]
        for part in _parts(start, stop, chunk):
            g = gradient[part.start - start : part.stop - start]
            self.pieces.append(Piece(group, *self._piece(group, part), g))

    def _piece(self, group: int, part: slice) -> tuple[Array, tuple[Array, ...]]:
        """Return a part of the parameters and of the group's arrays."""
        origin = self.starts[group]
        own = slice(part.start - origin, part.stop - origin)
        return self.vector[part], tuple(slot[own] for slot in self.slots[group])


def _parts(start: int, stop: int, chunk: int | None) -> list[slice]:
    """Return the range in parts of at most ``chunk``."""
    if start == stop:
        return []
    size = chunk or stop - start
    return [slice(a, min(a + size, stop)) for a in range(start, stop, size)]


def _fill(own: Params, other: Params) -> None:
    """Copy other values into arrays."""
    values = flatten(other)
    for name, array in flatten(own).items():
        array[...] = values[name]
