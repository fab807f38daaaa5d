"""Blocks of rows where each process reads a part of the files: all of them take as many steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from nnbackend.backends.base import Backend
from nnbackend.core.tree import map_arrays
from nnbackend.core.types import Array, Arrays
from nnbackend.data.samples import Samples

__all__ = ["SharedBlocks", "without_padding"]


class SharedBlocks:
    """Blocks of one process, filled up with rows of weight 0 to as many steps as any process has.

    Args:
        blocks: its own blocks, with the rows of a step in each.
        size: the rows of a step.
        most: returns the largest number that a process gives it; all processes call it together.
        first_row: returns a row for a process without rows of its own, whose weight will be 0.
        backend: whose arrays they are.
    """

    def __init__(
        self,
        blocks: Any,
        size: int,
        most: Callable[[int, int], int],
        first_row: Callable[[], Samples],
        backend: Backend,
    ) -> None:
        self._blocks, self._most, self._backend = blocks, most, backend
        self._size, self._first_row = size, first_row

    def __iter__(self) -> Iterator[tuple[Samples, int]]:
        blocks, spare, size = iter(self._blocks), None, self._size
        while True:
            block, size = next(blocks, (None, size))
            steps = 0 if block is None else math.ceil(len(block) / size)
            needed = self._most(steps, size) * size
            if not needed:
                return
            if block is not None:
                spare = block.slice(0, 1)
            if spare is None:
                spare = self._first_row()
            yield self._filled(block, spare, needed), size
            del block

    def _filled(self, block: Samples | None, spare: Samples, needed: int) -> Samples:
        """Return a block, or without one none of its rows, with copies of a spare row of weight 0."""
        xp, own = self._backend.xp, 0 if block is None else len(block)
        kind = {"dtype": self._backend.dtype, "device": self._backend.device}
        missing = needed - own

        def fill(array: Array, extra: Array) -> Array:
            more = xp.broadcast_to(extra, (missing, *extra.shape[1:]))
            return xp.concat([array[:own, ...], more])

        rows = spare if block is None else block
        weight = xp.ones(own, **kind) if block is None or block.weight is None else block.weight
        weight = xp.concat([weight[:own], xp.zeros(missing, **kind)])
        x, y = map_arrays(fill, (rows.x, rows.y), (spare.x, spare.y))
        return Samples(x, y, weight)

    @property
    def waiting(self) -> float:
        """The seconds that were waited for blocks."""
        return float(self._blocks.waiting)


def without_padding(rows: tuple[Arrays, Arrays, Array], backend: Backend) -> list[Any]:
    """Return outputs, targets and weights without rows of weight 0; None for weights that all are 1."""
    xp, weight = backend.xp, rows[2]
    kept = xp.nonzero(weight > 0.0)[0]
    outputs, targets, weight = map_arrays(lambda a: xp.take(a, kept, axis=0), rows)
    return [outputs, targets, None if bool(xp.all(weight == 1.0)) else weight]
