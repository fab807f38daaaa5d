"""Sources of the rows of an epoch, when they are not in arrays.

A source gives **chunks** of rows as they come, epoch by epoch, and knows nothing of networks;
:mod:`nnbackend.data.stream` checks them, puts them in order and brings them to the backend.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from collections.abc import Generator as Generated
from contextlib import closing
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from nnbackend.backends.host import host_numbers
from nnbackend.core.checks import check_size, named
from nnbackend.core.random import Generator
from nnbackend.core.shapes import Shapes, row_shapes
from nnbackend.core.tree import arrays_in, map_arrays, slice_rows
from nnbackend.data.input_spec import arrange, check_same_rows, is_tree, name_arrays
from nnbackend.data.reading_share import ReadingShare
from nnbackend.errors import DataError, given

__all__ = ["SHUFFLE_BUFFER", "Batches", "Chunk", "MemoryMap", "Source", "source_of"]

SHUFFLE_BUFFER = 16_384
"""The default size of a shuffle buffer, in rows."""
PREFETCH_BLOCKS = 2
_CHUNK_ROWS = 1024  # rows that are read together from a memory map


class Chunk(NamedTuple):
    """Some rows as a source gives them.

    Attributes:
        x: array-like of shape (rows, ...).
        y: array-like, see ``Network.fit``.
        weight: array-like of shape (rows,), or None.
        where: their origin, for messages.
        first: the number of the first row there.
    """

    x: Any
    y: Any
    weight: Any
    where: str
    first: int = 0


Chunks: TypeAlias = Generated[Chunk, None, None]


class Source(ABC):
    """Rows that are read again in each epoch.

    Attributes:
        rows: the number of rows of an epoch; None: unknown until they are read.
        batches: the number of batches of an epoch, where the source gives whole batches; None: unknown.
        whole_batches: whether each chunk is one batch, so one step. Otherwise rows are put together
            in batches of the ``batch_size`` of ``fit``.
        single_use: whether the rows can be read only once.
        shuffle_buffer: the number of rows shuffled together where ``fit`` shuffles.
        prefetch: the number of blocks of rows prepared ahead, in a thread; 0: none, and no thread.
        epochs_before: the number of epochs that the network was trained before this fit: they go on
            counting, and messages begin at 1.
        share: which rows of an epoch it reads, where several processes share them.
    """

    rows: int | None = None
    batches: int | None = None
    whole_batches: bool = False
    single_use: bool = False
    shuffle_buffer: int = SHUFFLE_BUFFER
    prefetch: int = PREFETCH_BLOCKS
    epochs_before: int = 0
    share: ReadingShare = ReadingShare()

    @abstractmethod
    def chunks(self, epoch: int, order: Generator | None) -> Chunks:
        """Return the rows of an epoch.

        Args:
            epoch: the number of the epoch, from 1.
            order: draws the order in which parts are read; None: they keep their order.
        """

    def peek(self) -> Chunk:
        """Return the first chunk of all rows, shared or not, which is not used up by that."""
        whole = copy.copy(self)
        whole.epochs_before, whole.share = 0, ReadingShare()
        with closing(whole.chunks(1, None)) as chunks:
            for chunk in chunks:
                return chunk
        raise DataError("the data have no rows")

    def feature_shape(self) -> Shapes:
        """Return the shape of a row's features, or a tree of shapes, from the first chunk if need be."""
        x = arrange(self.peek().x)
        return map_arrays(lambda array: tuple(np.shape(array))[1:], x)

    def _set_reading(self, shuffle_buffer: int, prefetch: int) -> None:
        """Set how rows are read, checked."""
        self.shuffle_buffer = check_size("shuffle_buffer", shuffle_buffer)
        self.prefetch = check_size("prefetch", prefetch, 0)

    @property
    def piece_rows(self) -> Sequence[int | None]:
        """The rows of each piece, such as a file, that is read by itself, in any order.

        None stands for a number that is not known. One piece: the data cannot be divided.
        """
        return [None]

    def divided(self, share: ReadingShare) -> Source:
        """Return a source of a part of the rows of each epoch, for one of several processes.

        Raises:
            ValueError: there are fewer rows, or pieces of an unknown number of rows, than processes.
        """
        rows, size = self.piece_rows, share.size
        if None not in rows:
            count = sum(number or 0 for number in rows)
            if count < size:
                raise ValueError(
                    f"{count} rows cannot be divided among {size} processes: start fewer"
                )
        elif len(rows) < size:
            what = "one piece" if len(rows) == 1 else f"{len(rows)} pieces"
            raise ValueError(
                f"the data are {what}, which cannot be divided among {size} processes: let each of them "
                "read all, reads='all', or write more files, or Parquet files"
            )
        own = copy.copy(self)
        own.share = share
        return own

    def _own(self, order: Generator | None) -> Iterator[tuple[int, int, int | None]]:
        """Yield the pieces to read in an epoch, and which of their rows; see :class:`ReadingShare`."""
        rows = self.piece_rows
        numbers = range(len(rows)) if order is None else map(int, order.permutation(len(rows)))
        return self.share.cut(numbers, rows)

    def map(self, function: Callable[..., tuple[Any, ...]]) -> Source:
        """Return a source whose rows pass through a function first.

        Args:
            function: ``function(x, y) -> (x, y)``, or with weights ``function(x, y, weight) ->
                (x, y, weight)``, of a chunk of rows. It runs in the reading thread.
        """
        return _Mapped(self, function)


class Batches(Source):
    """Batches from an iterable, or from a callable that makes one for each epoch.

    As they are, each is one step, and they come in the order in which they are given. With
    ``shuffle_buffer`` their rows are pooled instead, shuffled, and put together in batches of the
    ``batch_size`` of ``fit``.

    Args:
        batches: an iterable of ``(x, y)`` or ``(x, y, weight)``, such as a list or a data loader; or a
            callable that returns one, called for each epoch with its number, from 1, or without
            arguments if it takes none. An iterator (a generator) is gone through once and then
            used up: give the function that makes it, or ``steps``.
        steps: batches of an epoch. A callable is then still called for each epoch, and may yield
            without end; an iterator continues where it was. It is an error if there are fewer.
        shuffle_buffer: the number of rows to shuffle together; None: batches stay unchanged. Choose it
            several batches large.
        prefetch: the number of blocks of rows prepared ahead, in a thread; 0: none, for iterables
            that have to be used in the thread that made them.

    Raises:
        TypeError: ``batches`` is neither iterable nor callable.
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        batches: Iterable[Any] | Callable[..., Iterable[Any]],
        *,
        steps: int | None = None,
        shuffle_buffer: int | None = None,
        prefetch: int = PREFETCH_BLOCKS,
    ) -> None:
        if not callable(batches) and not isinstance(batches, Iterable):
            raise TypeError(
                "batches: expected an iterable of batches (x, y), or a callable that returns one, "
                f"got {given(batches)}"
            )
        self._batches = batches
        self._steps = None if steps is None else check_size("steps", steps)
        self.whole_batches = shuffle_buffer is None
        self._set_reading(SHUFFLE_BUFFER if shuffle_buffer is None else shuffle_buffer, prefetch)
        self._once = not callable(batches) and iter(batches) is batches
        self.single_use = self._once and steps is None
        self.batches = self._steps
        if steps is None and isinstance(batches, Sized):
            self.batches = len(batches)

    def chunks(self, epoch: int, order: Generator | None) -> Chunks:
        """Return the batches of an epoch; see :meth:`Source.chunks`."""
        given, shown = self._opened(epoch), epoch - self.epochs_before
        try:
            count = 0
            for count, batch in enumerate(itertools.islice(given, self._steps), 1):
                yield _as_chunk(batch, f"batch {count} of epoch {shown}")
        finally:
            if not self._once and hasattr(given, "close"):
                given.close()
        if self.batches is not None and count < self.batches:
            raise DataError(
                f"the batches ended after {count} of {self.batches} in epoch {shown}"
                + (_USED_UP if self._once else "")
            )
        if count == 0:
            raise DataError(f"there were no batches in epoch {shown}{_USED_UP * self._once}")

    def peek(self) -> Chunk:
        """Return the first batch, which is not used up by that."""
        if not self._once:
            return super().peek()
        for first in self._batches:  # type: ignore[union-attr]
            self._batches = itertools.chain([first], self._batches)  # type: ignore[arg-type]
            return _as_chunk(first, "batch 1 of epoch 1")
        raise DataError(f"there are no batches{_USED_UP}")

    def _opened(self, epoch: int) -> Iterator[Any]:
        """Return an iterator over the batches of an epoch."""
        if callable(self._batches):
            made = self._batches(epoch) if _takes_epoch(self._batches) else self._batches()
            if not isinstance(made, Iterable):
                raise TypeError(
                    "the callable must return an iterable of batches (x, y), for instance by "
                    f"yielding them; it returned {made!r}"
                )
            return iter(made)
        return iter(self._batches)


class MemoryMap(Source):
    """Rows of memory-mapped arrays, which are read a chunk at a time and never as a whole.

    Where ``fit`` shuffles, chunks of 1024 neighboring rows are read in random order, and rows are
    shuffled within a buffer. A buffer that holds them all makes every order equally likely.

    Args:
        x: array of shape ``(rows, *input_shape)``, for instance of
            ``np.load(path, mmap_mode="r")``; or a tuple or dictionary of arrays, mapped or not.
        y: array with the target of each row, mapped or not, or a tree of arrays.
        sample_weight: how much each row counts, or None.
        shuffle_buffer: the number of rows to shuffle together.
        prefetch: the number of blocks of rows prepared ahead, in a thread; 0: none.

    Raises:
        ValueError: lengths do not match, or a number is out of range.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        shuffle_buffer: int = SHUFFLE_BUFFER,
        prefetch: int = PREFETCH_BLOCKS,
    ) -> None:
        if is_tree(sample_weight) or isinstance(sample_weight, dict):
            raise TypeError(f"sample_weight must be one array, got {given(sample_weight)}")
        trees = arrange(x), arrange(y, name="y"), arrange(sample_weight)
        names = (
            name_arrays(trees[0], "X"),
            name_arrays(trees[1], "y"),
            None if sample_weight is None else "sample_weight",
        )
        for tree, name in zip(trees[:2], "Xy", strict=True):
            if not arrays_in(tree):
                raise TypeError(f"{name} must be an array, or several; got {given(tree)}")
        self._arrays = map_arrays(_mapped_or_made, trees, names)
        x, y, weight = self._arrays
        first = arrays_in(x)[0]
        # Numbers without rows, that are not as many as the targets: a file mapped without its shape.
        flat = first.ndim == 1 and any(a.shape[:1] != first.shape for a in arrays_in((y, weight)))
        if first.ndim == 0 or len(first) == 0 or flat:
            raise ValueError(
                "X must have one row for each sample, as shape (rows, features); "
                f"got shape {first.shape}"
            )
        check_same_rows(self._arrays, names)
        self.rows = len(first)
        self._shape = row_shapes(x)
        self._set_reading(shuffle_buffer, prefetch)

    @property
    def piece_rows(self) -> Sequence[int]:
        """The rows of each chunk."""
        assert self.rows is not None
        whole, rest = divmod(self.rows, _CHUNK_ROWS)
        return [_CHUNK_ROWS] * whole + [rest] * bool(rest)

    def chunks(self, epoch: int, order: Generator | None) -> Chunks:
        """Return chunks of neighboring rows; see :meth:`Source.chunks`."""
        for number, start, stop in self._own(order):
            first = number * _CHUNK_ROWS
            end = first + (_CHUNK_ROWS if stop is None else stop)
            first += start
            for array in arrays_in(self._arrays):
                _check_length(array)
            # Copied here: rows that were read can no longer change or fail.
            x, y, weight = map_arrays(np.array, slice_rows(self._arrays, first, end))
            yield Chunk(x, y, weight, "", first)

    def feature_shape(self) -> Shapes:
        """Return the shape of a row's features, or a tree of shapes."""
        return self._shape


def _mapped_or_made(x: Any, name: str) -> Any:
    """Return an array as it is, or one of lists."""
    with named(name):
        return x if isinstance(x, np.ndarray) else host_numbers(x)


def _check_length(array: Any) -> None:
    """Refuse a mapped file that has become shorter: to read beyond its end would kill the process."""
    base = array
    while isinstance(base, np.ndarray):
        outer, base = base, base.base
    if not isinstance(base, mmap.mmap) or not isinstance(outer, np.memmap):
        return
    start = outer.offset - outer.offset % mmap.ALLOCATIONGRANULARITY
    if base.size() < start + len(base):
        raise DataError(f"the mapped file {outer.filename} has become shorter while it was read")


class _Mapped(Source):
    """A source whose rows pass through a function; see :meth:`Source.map`."""

    def __init__(self, source: Source, function: Callable[..., tuple[Any, ...]]) -> None:
        if not callable(function):
            raise TypeError(f"function must be called with x and y, got {given(function)}")
        self._source, self._function = source, function
        self.rows, self.batches, self.single_use = source.rows, source.batches, source.single_use
        self.whole_batches = source.whole_batches
        self.shuffle_buffer, self.prefetch = source.shuffle_buffer, source.prefetch

        self.share = source.share

    @property
    def piece_rows(self) -> Sequence[int | None]:
        return self._source.piece_rows

    def divided(self, share: ReadingShare) -> Source:
        return _Mapped(self._source.divided(share), self._function)

    def chunks(self, epoch: int, order: Generator | None) -> Chunks:
        self._source.epochs_before = self.epochs_before
        with closing(self._source.chunks(epoch, order)) as chunks:
            for chunk in chunks:
                yield self._mapped(chunk)

    def peek(self) -> Chunk:
        return self._mapped(self._source.peek())

    def _mapped(self, chunk: Chunk) -> Chunk:
        given = (chunk.x, chunk.y) if chunk.weight is None else chunk[:3]
        made = self._function(*given)
        return _as_chunk(made, f"{chunk.where or f'rows from {chunk.first}'}, mapped")


def source_of(x: Any, y: Any, weight: Any) -> Source | None:
    """Return the source that the arguments of ``fit`` mean; None: they are arrays.

    Raises:
        ValueError: there is a target or a weight beside a source, which has its own.
        TypeError: there is no target, and ``x`` is no source either.
    """
    if isinstance(x, str | bytes | os.PathLike | type):
        raise TypeError(
            f"X must be arrays or batches, got {given(x)}; nnbackend.data.Dataset reads the files of a "
            "table"
        )
    if y is None or callable(x) or isinstance(x, Source | Iterator):
        if y is not None or weight is not None:
            extra = "y" if y is not None else "sample_weight"
            raise ValueError(f"{extra} is a part of the batches: give them as (x, y, weight)")
        if isinstance(x, Source):
            return x
        if (
            hasattr(x, "shape")
            or isinstance(x, dict)
            or not (callable(x) or isinstance(x, Iterable))
        ):
            if not (hasattr(x, "shape") or isinstance(x, dict | int | float)):
                raise TypeError(f"X must be arrays or batches (x, y), got {given(x)}")
            raise TypeError("there is no y: give arrays x and y, or batches (x, y)")
        return Batches(x)
    if any(isinstance(array, np.memmap) for array in arrays_in(x if is_tree(x) else (x,))):
        return MemoryMap(x, y, weight)
    return None


_USED_UP = (
    ": an iterator can be gone through only once; give the function that makes it, "
    "fit(make_batches), so that each epoch starts from the beginning"
)


def _as_chunk(batch: Any, where: str) -> Chunk:
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        what = f"{len(batch)} things" if isinstance(batch, tuple | list) else repr(type(batch))
        hint = (
            ". Arrays of all rows are two arguments: fit(x, y)" if hasattr(batch, "shape") else ""
        )
        raise DataError(f"{where} must be (x, y) or (x, y, weight), got {what}{hint}")
    return Chunk(batch[0], batch[1], batch[2] if len(batch) == 3 else None, where)


def _takes_epoch(function: Callable[..., Any]) -> bool:
    """Return whether a function takes the number of the epoch."""
    try:
        parameters = inspect.signature(function).parameters
        inspect.signature(function).bind()
    except TypeError:
        return True  # it cannot be called without
    except ValueError:  # some of C's have no signature
        return False
    return "epoch" in parameters
