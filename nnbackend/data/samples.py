"""Samples: rows of inputs and targets, in one piece, in some order, in blocks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.core.tree import count_rows, map_arrays, slice_rows
from nnbackend.core.types import Array, Arrays, Params, State
from nnbackend.inference.predictor import Predictor

__all__ = ["Gather", "Samples", "row_copier", "row_gatherer", "row_major"]

_MAX_COPIED_BYTES = 1 << 30  # of an array that is not in the order of its rows

Gather: TypeAlias = Callable[[Arrays, Array], Arrays]
"""``gather(x, rows)``: the rows with the given numbers, in that order, of each array in a tree."""


def row_copier(backend: Backend) -> Gather:
    """Return a function that gathers rows in new memory."""
    return lambda x, rows: map_arrays(lambda array: backend.take_rows(array, rows), x)


def row_gatherer(backend: Backend) -> Gather:
    """Return a function that gathers rows in memory that it uses again the next time.

    On the host new memory for each block would cost as much as the rows: the system clears it, page by
    page.
    """
    kept: dict[int, Any] = {}  # the longest rows of each array of a tree so far

    def gather(x: Arrays, rows: Array) -> Arrays:
        places = itertools.count()

        def one(array: Array) -> Array:
            place = next(places)
            out = kept.get(place)
            wanted = array.shape[1:], array.dtype
            if out is not None and len(out) >= len(rows) and (out.shape[1:], out.dtype) == wanted:
                return backend.take_rows(array, rows, out)
            taken = backend.take_rows(array, rows)
            if isinstance(taken, np.ndarray):  # other libraries reuse their memory
                kept[place] = taken
            return taken

        return map_arrays(one, x)

    return gather


def row_major(array: Array, backend: Backend) -> Array:
    """Return an array that rows are gathered from fast: on the host, one row after the other."""
    if not (isinstance(array, np.ndarray) and backend.owns(array)):
        return array
    # A copy of a very large array would take too much memory.
    return array if array.nbytes > _MAX_COPIED_BYTES else np.ascontiguousarray(array)


@dataclass(frozen=True)
class Samples:
    """Rows of inputs and targets on a backend, with an optional weight each.

    Attributes:
        x: the inputs, an array or a tree of arrays.
        y: the targets, an array or a tree of arrays.
        weight: how much each row counts.
        class_weight: the factor of its weight by its class, in the loss of training and nowhere else.
    """

    x: Arrays
    y: Arrays
    weight: Array | None = None
    class_weight: Array | None = None

    on_host: ClassVar[bool] = False
    """Whether they are on the host, as NumPy arrays: :class:`nnbackend.data.host_data.HostSamples`."""

    def __len__(self) -> int:
        return count_rows(self.x)

    def placement(self, backend: Backend) -> Backend:
        """Return the backend whose arrays these are, in a network that computes on ``backend``."""
        return backend

    def blocks(
        self,
        batch_size: int,
        order: Any,
        block_rows: int,
        backend: Backend,
        gather: Sequence[Gather] | None = None,
    ) -> AbstractContextManager[Iterable[tuple[Samples, int]]]:
        """Return blocks of whole batches, with the rows of a step in each, for a ``with`` statement.

        ``order`` has the rows to take, in their order; None: all in the order of the samples.
        """
        rows = len(self if order is None else order)

        def parts() -> Iterator[tuple[Samples, int]]:
            for start in range(0, rows, block_rows):
                stop = min(start + block_rows, rows)
                part = self
                if order is not None:
                    part = self.take(order[start:stop], backend, gather)
                elif (start, stop) != (0, rows):
                    part = self.slice(start, stop)
                yield part, min(batch_size, stop - start)

        return nullcontext(parts())

    def outputs(self, predictor: Predictor, params: Params, state: State) -> Arrays:
        """Return the outputs for all rows."""
        return predictor.predict(params, state, self.x)

    def targets(self, backend: Backend) -> tuple[Arrays, Array | None]:
        """Return targets and weights on the backend."""
        return self.y, self.weight

    def take(self, rows: Any, backend: Backend, gather: Sequence[Gather] | None = None) -> Samples:
        """Return the given rows, in that order; ``gather`` takes them from each array."""
        index = backend.asarray(rows, dtype=backend.xp.int32)
        each = gather or [row_copier(backend)] * len(self.arrays)
        pairs = zip(self.arrays, each, strict=True)
        return Samples(*(None if array is None else take(array, index) for array, take in pairs))

    def packed(self, backend: Backend) -> Samples:
        """Return the samples with inputs that rows are taken from fast: one after the other."""
        return replace(self, x=map_arrays(lambda array: row_major(array, backend), self.x))

    def slice(self, start: int, stop: int) -> Samples:
        """Return a range of rows."""
        return type(self)(*slice_rows(self.arrays, start, stop))

    def learned(self) -> Samples:
        """Return the samples with the weights that the loss of training takes."""
        if self.class_weight is None:
            return self
        weight = self.class_weight if self.weight is None else self.weight * self.class_weight
        return type(self)(self.x, self.y, weight)

    @property
    def arrays(self) -> tuple[Arrays, Arrays, Array | None, Array | None]:
        """The arrays, which have a row for each sample."""
        return self.x, self.y, self.weight, self.class_weight
