"""The forward pass outside training: as a program, and on as many rows at a time as suit the memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

from nnbackend.backends.base import Backend, Forward
from nnbackend.backends.program_cache import cached_program
from nnbackend.core.registry import is_pure
from nnbackend.core.tree import arrays_in, count_rows, leaves, map_arrays, slice_rows
from nnbackend.core.types import Array, Arrays, Context, Layer, Params, State
from nnbackend.layers.mixed_precision import with_precision

__all__ = ["BATCH_ROWS", "batch_rows", "forward_in_batches", "forward_pass", "outputs_of"]

BATCH_ROWS = 4096  # rows of a forward pass outside training
_FEWEST_ROWS = 1024  # each product ends with threads that wait for each other


@cached_program
def _forward_pass(backend: Backend, layers: Layer) -> Forward:
    stateless, network = Context(backend), with_precision(layers, backend)

    def forward(params: Params, x: Arrays, state: State) -> Arrays:
        # Threads may run this on networks with other states.
        ctx = Context(backend, state=state) if state else stateless
        return network.forward(params, x, ctx)[0]

    # See training.step for what may be recorded.
    if is_pure(layers):
        return backend.compile_forward(forward)
    return Forward(backend.compile(forward))


def forward_pass(layers: Layer, backend: Backend) -> Forward:
    """Return the program of the forward pass outside training: ``forward(params, x, state) -> y``."""
    return _forward_pass(backend, layers)


def forward_in_batches(
    forward: Forward,
    params: Params,
    x: Array,
    backend: Backend,
    batch_size: int = BATCH_ROWS,
    bring: Callable[[Any, int], Array] | None = None,
) -> Array:
    """Return the outputs for all rows, computed a batch at a time to bound the memory.

    Args:
        forward: the pass.
        params: the parameters.
        x: the rows.
        backend: that computes.
        batch_size: rows computed at a time, or fewer where that is faster.
        bring: from rows of ``x``, and the number of their first, to rows on the backend; None: they are
            there.
    """
    rows = count_rows(x)
    size = batch_rows(params, x, backend, batch_size)
    if rows <= size:
        return forward(params, x if bring is None else bring(x, 0))
    return join_rows(backend, outputs_of(forward, params, x, backend, size, bring), rows)


def outputs_of(
    forward: Forward,
    params: Params,
    x: Array,
    backend: Backend,
    batch_size: int,
    bring: Callable[[Any, int], Array] | None = None,
) -> Iterator[Array]:
    """Yield the outputs of a batch at a time; see :func:`forward_in_batches`."""
    rows = count_rows(x)
    size = batch_rows(params, x, backend, batch_size)
    for start in range(0, rows, size):
        part = slice_rows(x, start, min(start + size, rows))
        yield forward(params, part if bring is None else bring(part, start))


def join_rows(backend: Backend, parts: Iterator[Arrays], rows: int) -> Arrays:
    """Return outputs of successive rows, ``rows`` in all, as one; also where they are trees."""
    first = next(parts)
    if not isinstance(first, tuple | dict):
        return backend.joined(itertools.chain([first], parts), rows)
    return map_arrays(lambda *same: backend.joined(iter(same), rows), first, *parts)


def batch_rows(params: Params, x: Arrays, backend: Backend, most: int) -> int:
    """Return how many rows of inputs to compute at a time: ``most``, or fewer where that is faster."""
    size = min(most, count_rows(x))
    if size > _FEWEST_ROWS and backend.forward_bytes is not None:
        size = min(size, _cached_rows(params, x, backend))
    return size


def _cached_rows(params: Params, x: Arrays, backend: Backend) -> int:
    """Return how many rows to compute at a time, so that the widest layer's input stays in the cache."""
    assert backend.forward_bytes is not None
    widths = [n for p in leaves(params) for n in p.shape[-1:]]
    each = [array.shape for array in arrays_in(x)]
    numbers = max(math.prod(n[1:-1]) * max(n[-1], *widths, 1) for n in each)
    row_bytes: int = numbers * backend.xp.finfo(backend.dtype).bits // 8
    return max(_FEWEST_ROWS, backend.forward_bytes // row_bytes)
