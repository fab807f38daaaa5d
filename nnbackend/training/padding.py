"""Padding: rows of weight 0, which make up a batch to the size for which a step was compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from nnbackend.backends.base import Backend
from nnbackend.core.tree import count_rows, map_arrays
from nnbackend.core.types import Array, Batch

__all__ = ["pad_rows"]


def pad_rows(batch: Batch, rows: int, backend: Backend) -> Batch:
    """Return a batch made up to ``rows`` with copies of its first row that have weight 0."""
    missing = rows - count_rows(batch.x)
    return batch if missing == 0 else _padding(backend, missing)(batch)


@lru_cache(maxsize=64)
def _padding(backend: Backend, missing: int) -> Callable[[Batch], Batch]:
    """Return the program that adds so many rows."""
    xp, kind = backend.xp, {"dtype": backend.dtype, "device": backend.device}

    def pad(array: Array) -> Array:
        return xp.concat([array, xp.broadcast_to(array[:1, ...], (missing, *array.shape[1:]))])

    def pad_batch(batch: Batch) -> Batch:
        x, y, weight = batch
        weight = xp.ones(count_rows(x), **kind) if weight is None else weight
        return Batch(
            map_arrays(pad, x), map_arrays(pad, y), xp.concat([weight, xp.zeros(missing, **kind)])
        )

    return backend.compile(pad_batch)
