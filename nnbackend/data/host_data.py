"""Data that do not fit on the device: they stay on the host and come in blocks, read ahead in a thread.

The blocks, their order and their numbers are those that data on the device would have: so the training
is the same, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.backends.choose import host_backend
from nnbackend.backends.host import is_on_device
from nnbackend.core.checks import check_choice
from nnbackend.core.tree import arrays_in, count_rows, map_arrays, slice_rows
from nnbackend.core.types import Array, Arrays, Params, State
from nnbackend.data.input_spec import is_tree
from nnbackend.data.prefetch import ReadAhead
from nnbackend.data.samples import Samples
from nnbackend.inference.predictor import BATCH_ROWS, Predictor, batch_rows

__all__ = [
    "MEMORY_SHARE",
    "PLACEMENTS",
    "HostSamples",
    "fits_in_memory",
    "host_backend",
    "is_on_device",
    "placement",
    "read_batches",
    "stage_ahead",
]

PLACEMENTS = ("auto", "device", "host")
"""What ``data_on`` may be."""
MEMORY_SHARE = 0.5
"""What data may take of the free memory. The rest is for parameters, activations and blocks."""
_ALWAYS_FITS_BYTES = 1 << 22  # fits anywhere: no need to look at the free memory
_BLOCKS_AHEAD = 2  # blocks that are prepared while one is worked on


def placement(
    arrays: tuple[Any, ...], backend: Backend, data_on: str, batch_size: int | None = 0
) -> Backend:
    """Return the backend that is to hold arrays: the one that computes, or NumPy on the host.

    Args:
        arrays: inputs, targets and weights as given; a value without a shape is small, and None is
            nothing.
        backend: the one that computes.
        data_on: ``"device"``, ``"host"``, or ``"auto"``: the host if they are there and larger than
            half of the memory that is free on the device.
        batch_size: rows of a step; a step that takes all (None) needs all of them on the device.

    Raises:
        ValueError: ``data_on`` is something else.
    """
    if check_choice("data_on", data_on, PLACEMENTS) == "auto":
        stay = not any(map(is_on_device, arrays_in(arrays))) and not fits_in_memory(backend, arrays)
    else:
        stay = data_on == "host"
    if not stay or batch_size is None:
        return backend
    first = next(iter(arrays_in(arrays[0])), ()) if is_tree(arrays[0]) else arrays[0]
    return backend if batch_size >= math.prod(np.shape(first)[:1]) else host_backend(backend)


def fits_in_memory(backend: Backend, arrays: tuple[Any, ...]) -> bool:
    """Return whether there is room for arrays on the device of a backend."""
    itemsize = 8 if backend.dtype_name == "float64" else 4
    shapes = [getattr(array, "shape", (0,)) for array in arrays_in(arrays)]
    size = itemsize * sum(math.prod(s) for s in shapes if isinstance(s, tuple))  # a class has none
    if size <= _ALWAYS_FITS_BYTES:
        return True
    memory = backend.memory()
    return memory is None or size <= MEMORY_SHARE * memory.free


def stage_tree(stage: Callable[..., list[Array | None]], arrays: Arrays) -> Arrays:
    """Return a tree of NumPy arrays (or None), brought to a backend by its ``stage``."""
    there = iter(stage(arrays_in(arrays)))
    return map_arrays(lambda _: next(there), arrays)


def stage_ahead(parts: Iterator[Arrays], backend: Backend) -> ReadAhead[Arrays]:
    """Return an iterator over trees of NumPy arrays, brought to the backend ahead of their use."""
    stage = backend.uploader()  # here: it notes on which stream the steps are computed
    return ReadAhead(lambda: (stage_tree(stage, part) for part in parts), _BLOCKS_AHEAD)


def read_batches(
    x: Arrays,
    size: int,
    backend: Backend,
    check: Callable[[Arrays, int], Arrays] = lambda rows, first: rows,
) -> Iterator[Arrays]:
    """Yield rows on the host, ``size`` at a time, on the backend; the next are read ahead.

    ``check`` turns rows, given the number of the first, into those that are brought to the device.
    """
    starts = range(0, count_rows(x), size)
    parts = (check(slice_rows(x, first, first + size), first) for first in starts)
    with stage_ahead(parts, backend) as batches:
        yield from batches


@dataclass(frozen=True)
class HostSamples(Samples):
    """Samples as NumPy arrays, in the network's dtype; batches are brought to the device."""

    on_host: ClassVar[bool] = True

    def placement(self, backend: Backend) -> Backend:
        """Return NumPy."""
        return host_backend(backend)

    def take(self, rows: Any, backend: Backend, gather: Any = None) -> HostSamples:
        """Return the given rows, on the host as well."""
        return HostSamples(*map_arrays(lambda array: np.take(array, rows, axis=0), self.arrays))

    @contextmanager
    def blocks(
        self, batch_size: int, order: Any, block_rows: int, backend: Backend, gather: Any = None
    ) -> Iterator[Iterator[tuple[Samples, int]]]:
        """Yield blocks on the device, see :meth:`Samples.blocks`; a thread gathers and copies them."""

        def block_of(arrays: tuple[Any, ...]) -> tuple[Samples, int]:
            return Samples(*arrays), min(batch_size, count_rows(arrays[0]))

        with Samples.blocks(self, batch_size, order, block_rows, backend) as parts:
            gathered = (part.arrays for part, _ in parts)
            with stage_ahead(gathered, backend) as blocks:
                yield map(block_of, blocks)  # which keeps none while it waits for the next

    def outputs(self, predictor: Predictor, params: Params, state: State) -> Arrays:
        """Return the outputs for all rows, which come to the device in batches."""
        backend = predictor.backend
        size = batch_rows(params, self.x, backend, BATCH_ROWS)
        parts = read_batches(self.x, size, backend)
        return predictor.join(predictor.outputs(params, state, parts), len(self))

    def targets(self, backend: Backend) -> tuple[Arrays, Array | None]:
        """Return targets and weights, on the device."""
        y, weight = stage_tree(backend.uploader(), (self.y, self.weight))
        return y, weight
