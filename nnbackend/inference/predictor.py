"""The forward pass outside training: as a program, and on as many rows at a time as suit the memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nnbackend.backends.base import Backend, Forward
from nnbackend.backends.program_cache import cached_program
from nnbackend.core.outside import OutsideValues
from nnbackend.core.tree import arrays_in, count_rows, leaves, map_arrays, slice_rows
from nnbackend.core.types import STATELESS, Array, Arrays, Context, Layer, Params, State
from nnbackend.layers.mixed_precision import with_precision
from nnbackend.layers.output import makes_outputs

__all__ = ["BATCH_ROWS", "Predictor", "batch_rows"]

BATCH_ROWS = 4096  # rows of a forward pass outside training
_SMALL_SIZE = 1 << 14  # numbers in rows for which the shortest way is sought
_FEWEST_ROWS = 1024  # each product ends with threads that wait for each other


@cached_program
def _forward_pass(backend: Backend, layers: Layer) -> Forward:
    stateless, network = Context(backend), with_precision(layers, backend)

    def forward(params: Params, x: Arrays, state: State) -> Arrays:
        # Threads may run this on networks with other states.
        ctx = Context(backend, state=state) if state else stateless
        return network.forward(params, x, ctx)[0]

    return backend.compile_forward(forward, layers)


class Predictor:
    """Computes the outputs of layers outside training, a batch of rows at a time."""

    def __init__(self, layers: Layer, backend: Backend) -> None:
        self.layers, self.backend = layers, backend
        self._forward = _forward_pass(backend, layers)
        self._outside = OutsideValues(layers)
        self._hands_on = not makes_outputs(layers)
        self._compiles = backend.static_shapes and backend.in_host_memory
        self._last: tuple[Any, ...] | None = None  # the kind of the rows of the last compiled pass

    def __call__(self, params: Params, state: State, x: Arrays) -> Arrays:
        """Return the outputs for rows on the backend, computed together."""
        if self._outside.changed():
            self._forward = _forward_pass(self.backend, self.layers)
        if self._compiles and self.backend.owns(x) and x.size <= _SMALL_SIZE:
            self._last = _kind_of(x)
        # A recording recognizes the state by the dictionary itself.
        return self._forward(params, x, state or STATELESS)

    def repeat(self, params: Params, state: State, x: Any) -> Array | None:
        """Return the outputs for a small array like the last one, by the shortest way, or None.

        ``x`` is anything: None comes back unless it is real, finite numbers in the shape of the last
        rows, and the pass for these parameters was recorded, or compiled.
        """
        if state or self._outside.differ():
            return None
        if self._last is None:
            return self._forward.predict_like_last(params, x)
        if type(x) is not self._last[0] or _kind_of(x) != self._last:
            return None
        with self.backend.scope():
            return self._own(self._forward(params, x)) if self.backend.all_finite(x) else None

    def predict(
        self,
        params: Params,
        state: State,
        x: Arrays,
        batch_size: int = BATCH_ROWS,
        bring: Callable[[Any, int], Arrays] | None = None,
    ) -> Arrays:
        """Return the outputs for all rows, at most ``batch_size`` computed at a time.

        ``bring`` is a function from rows of ``x``, and the number of their first, to rows on the
        backend; None: they are there.
        """
        rows = count_rows(x)
        size = batch_rows(params, x, self.backend, batch_size)
        if rows <= size:
            return self._own(self(params, state, x if bring is None else bring(x, 0)))
        starts = range(0, rows, size)
        parts = ((slice_rows(x, start, min(start + size, rows)), start) for start in starts)
        brought = (part if bring is None else bring(part, start) for part, start in parts)
        return self.join(self.outputs(params, state, brought), rows)

    def _own(self, y: Arrays) -> Arrays:
        """Return outputs that share no memory with the rows, which layers may have handed on."""
        if not self._hands_on:
            return y
        return map_arrays(lambda array: self.backend.xp.asarray(array, copy=True), y)

    def outputs(self, params: Params, state: State, parts: Iterable[Arrays]) -> Iterator[Arrays]:
        """Yield the outputs for rows that come in parts, on the backend."""
        return (self(params, state, part) for part in parts)

    def join(self, outputs: Iterator[Arrays], rows: int) -> Arrays:
        """Return outputs of successive rows, ``rows`` in all, as one."""
        first = next(outputs)
        if not isinstance(first, tuple | dict):
            return self.backend.concat_rows(itertools.chain([first], outputs), rows)
        return map_arrays(lambda *same: self.backend.concat_rows(iter(same), rows), first, *outputs)


def _kind_of(x: Array) -> tuple[Any, ...]:
    return type(x), x.shape, x.dtype, x.device


def batch_rows(params: Params, x: Arrays, backend: Backend, most: int) -> int:
    """Return the number of rows to compute at a time: ``most``, or fewer where that is faster."""
    size = min(most, count_rows(x))
    if size > _FEWEST_ROWS and backend.forward_bytes is not None:
        size = min(size, _cached_rows(params, x, backend))
    return size


def _cached_rows(params: Params, x: Arrays, backend: Backend) -> int:
    """Return the number of rows with which the widest layer's input stays in the cache."""
    assert backend.forward_bytes is not None
    widths = [n for p in leaves(params) for n in p.shape[-1:]]
    each = [array.shape for array in arrays_in(x)]
    numbers = max(math.prod(n[1:-1]) * max(n[-1], *widths, 1) for n in each)
    row_bytes: int = numbers * backend.xp.finfo(backend.dtype).bits // 8
    return max(_FEWEST_ROWS, backend.forward_bytes // row_bytes)
