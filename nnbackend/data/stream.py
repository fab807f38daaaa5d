"""BatchStream: the batches that training takes from a source.

Between a source and the training step are a few generators, run by a thread that reads ahead: rows are
checked as they come, shuffled within a buffer, put together in batches, and brought to the backend.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from nnbackend.backends.base import Backend
from nnbackend.core.random import Generator
from nnbackend.core.tree import arrays_in, map_arrays
from nnbackend.data.host_data import host_backend, is_on_device, stage_tree
from nnbackend.data.input_spec import arrange
from nnbackend.data.prefetch import ReadAhead
from nnbackend.data.samples import Samples
from nnbackend.data.sources import Chunk, Source
from nnbackend.data.targets import RowCheck
from nnbackend.errors import DataError

__all__ = ["BatchStream"]

_BLOCK_BYTES = 1 << 22  # of the rows that are brought to the backend together


class BatchStream:
    """The samples of a source, epoch by epoch, checked and on the backend.

    Args:
        source: gives the rows.
        backend: the backend to bring them to.
        check: checks the rows.
        batch_size: rows of a step, where the source does not give whole batches.
        seed: the random seed of the order; None: rows keep their order.
        name: the name of the data in messages, before "X" and "y".

    Raises:
        ValueError: the batch size is None, all rows, which streams do not have at once.
    """

    def __init__(
        self,
        source: Source,
        backend: Backend,
        check: RowCheck,
        batch_size: int | None,
        seed: int | None,
        name: str = "",
    ) -> None:
        if batch_size is None and not source.whole_batches:
            raise ValueError("data that stream need a batch_size; all rows at once do not fit")
        self._source = source
        self._backend = backend
        self._check, self._name = check, name
        self._weighted: bool | None = None
        self._size = batch_size or 1
        # Of all processes together, if they share the reading.
        self._whole = self._size if source.share.size == 1 else source.share.batch_size
        self._seed = seed
        self._largest = 0

    @property
    def batch_size(self) -> int:
        """The rows of a step, of this process."""
        return self._size

    @property
    def steps(self) -> int | None:
        """The batches of an epoch, where that is known before."""
        if self._source.whole_batches:
            return self._source.batches
        return None if self._source.rows is None else math.ceil(self._source.rows / self._whole)

    def describe(self) -> dict[str, Any]:
        """Return plain data by which a resumed run recognizes the data."""
        source = self._source
        return {
            "data": type(source).__name__,
            "rows": source.rows,
            "batch_size": None if source.whole_batches else self._whole,
            "shuffle_buffer": None if self._seed is None else source.shuffle_buffer,
        }

    def epoch(
        self, number: int, block_steps: int | None = None, before: int = 0
    ) -> ReadAhead[tuple[Samples, int]]:
        """Return the blocks of an epoch, and the rows of a step in each; for a ``with`` statement.

        Args:
            number: the number of the epoch, from 1.
            block_steps: steps of a block; None: as many as fit a fixed amount of memory.
            before: the number of epochs that the network was trained before, which go on counting.
        """
        stage = self._backend.uploader()  # here: it notes on which stream the steps are computed
        self._source.epochs_before = before
        blocks = partial(self._blocks, before + number, block_steps, stage)
        return ReadAhead(blocks, self._source.prefetch)

    def first_row(self) -> Samples:
        """Return the first row of all, which need not be of this process's share."""
        row = self._checked(self._source.peek()).slice(0, 1)
        if not self._backend.owns(arrays_in(row.x)[0]):
            row = Samples(*stage_tree(self._backend.uploader(), row.arrays[:3]))
        return row

    def _blocks(
        self, epoch: int, block_steps: int | None, stage: Callable[..., Any]
    ) -> Iterator[tuple[Samples, int]]:
        """Yield blocks; all of it runs in the reading thread."""
        source, order, weightless = self._source, None, True
        if self._seed is not None:
            order = Generator.of(self._seed, "order", epoch)
        with self._backend.scope(), closing(source.chunks(epoch, order)) as chunks:
            rows: Iterator[Samples] = map(self._checked, chunks)
            if not source.whole_batches:
                if order is not None:
                    rows = shuffle_rows(rows, source.shuffle_buffer, order.child("rows"))
                most = -(
                    -self._whole // source.share.size
                )  # blocks of as many steps in all processes
                rows = regroup(rows, self._size, block_steps, most)
            for samples in rows:
                weight = samples.weight  # on a device it is not looked at
                weightless = weightless and isinstance(weight, np.ndarray) and not weight.any()
                size = self._size
                if source.whole_batches:
                    size = len(samples)
                    if self._backend.static_shapes:  # another number would mean a compilation
                        self._largest = size = max(self._largest, size)
                if not self._backend.owns(arrays_in(samples.x)[0]):  # they are on the host
                    samples = Samples(*stage_tree(stage, samples.arrays[:3]))
                yield samples, size
                del samples
        if weightless and source.share.size == 1:  # others may have rows with a weight
            shown = epoch - source.epochs_before
            raise DataError(f"no row of epoch {shown} has a weight above zero")

    def _checked(self, chunk: Chunk) -> Samples:
        """Return the rows of a chunk, in memory that is not the user's.

        Rows on the host are checked there. Rows on a device stay there, unless they are to be put
        together with others.
        """
        try:
            x = arrange(chunk.x, self._check.spec.shape, f"{self._name}X")
            y = arrange(chunk.y, None, f"{self._name}y")
            given, backend = (x, y, chunk.weight), host_backend(self._backend)
            if any(type(array) is not np.ndarray for array in arrays_in(given)):
                stays = self._source.whole_batches and any(map(is_on_device, arrays_in(given)))
                if stays:
                    backend = self._backend
                else:
                    given = map_arrays(self._to_host, given)
            if self._weighted not in (None, chunk.weight is not None):
                raise ValueError("either all batches or none have a weight, and here that changes")
            self._weighted = chunk.weight is not None
            checked = self._check(given, backend, self._name, chunk.first, False)
        except (ValueError, TypeError) as error:
            raise DataError(f"{chunk.where}: {error}" if chunk.where else str(error)) from error
        shared = set(map(id, arrays_in(given)))
        return Samples(*map_arrays(lambda array: _own(array, shared), checked))

    def _to_host(self, array: Any) -> Any:
        """Return an array that is on no device, and not of the network's own library."""
        if is_on_device(array):
            array = self._backend._import(array, None)
        return self._backend.to_numpy(array) if self._backend.owns(array) else array


def _own(array: Any, given: set[int]) -> Any:
    """Return an array that shares no memory with those ``given``, by id: users may fill them again."""
    shared = isinstance(array, np.ndarray) and (id(array) in given or array.base is not None)
    return array.copy() if shared else array


def shuffle_rows(parts: Iterator[Samples], capacity: int, order: Generator) -> Iterator[Samples]:
    """Yield the rows in random order within a buffer; it does not depend on how they were cut.

    Whenever the buffer is full it is shuffled, and half of it leaves. What is left at the end is
    shuffled as a whole; so is everything, if the buffer holds it all.
    """
    held: list[Samples] = []
    count = 0
    for part in parts:
        start = 0
        while start < len(part):
            stop = min(start + capacity - count, len(part))
            held.append(part.slice(start, stop))
            count += stop - start
            start = stop
            if count == capacity:
                pool, rows = concat_samples(held), order.permutation(count)
                held.clear()
                half = (count + 1) // 2
                yield take_rows(pool, rows[:half])
                held.append(take_rows(pool, rows[half:]))
                count -= half
                del pool
    if held:
        pool = concat_samples(held)
        held.clear()
        yield take_rows(pool, order.permutation(count))


def regroup(
    parts: Iterator[Samples], size: int, block_steps: int | None = None, most: int | None = None
) -> Iterator[Samples]:
    """Yield the rows in blocks of whole batches of ``size`` rows; only the last one may be smaller.

    A block has ``block_steps`` batches; None: as many as fit a fixed amount of memory, were they of
    ``most`` rows (None: of ``size``).
    """
    held: list[Samples] = []
    count = 0
    for part in parts:
        if block_steps is None:
            row_bytes = max(sum(a.nbytes for a in arrays_in(part.arrays)) // len(part), 1)
            block_steps = max(1, _BLOCK_BYTES // (row_bytes * (most or size)))
        held.append(part)
        count += len(part)
        if count < block_steps * size:
            continue
        pool, start = concat_samples(held), 0
        while count - start >= block_steps * size:
            yield pool.slice(start, start + block_steps * size)
            start += block_steps * size
        held = [pool.slice(start, count)] if count > start else []
        count -= start
        del pool
    if count:
        yield concat_samples(held)


def concat_samples(parts: Sequence[Samples]) -> Samples:
    """Return rows on the host together."""
    if len(parts) == 1:
        return parts[0]
    arrays = map_arrays(lambda *same: np.concatenate(same), *(part.arrays for part in parts))
    return Samples(*arrays)


def take_rows(samples: Samples, rows: Any) -> Samples:
    """Return copies of rows on the host."""
    return Samples(*map_arrays(lambda array: np.take(array, rows, axis=0), samples.arrays))
