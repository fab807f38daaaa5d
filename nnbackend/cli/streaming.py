"""``nnbackend train --stream``: tables that are read again in each epoch, a part at a time.

Medians, scales, categories and classes are learned before training from a sample, of which a share
validates; all other rows of the files, and the rest of the sample, train.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.core.random import Generator
from nnbackend.data import Chunk, Source
from nnbackend.data.arrow import (
    FORMATS,
    Piece,
    batches_of,
    columns_of,
    find_datasets,
    pieces_of,
    pyarrow_module,
    reading,
)
from nnbackend.data.files import ending_of
from nnbackend.data.sources import Chunks
from nnbackend.errors import DataError
from nnbackend.parallel import MPI
from nnbackend.saving.run_identity import whole_checksum
from nnbackend.tables.columns import frame_of, readable_columns, table_of
from nnbackend.tables.delimited import find_dialect
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.reading import check_columns, naming_lines
from nnbackend.tables.table import ColumnError, Table, WantedKind, missing, row_count, take_rows
from nnbackend.tables.units import find_numerals

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SAMPLE_ROWS", "TableStream"]

SAMPLE_ROWS = 100_000
_CHUNK_ROWS = 4096


class TableStream(Source):
    """The rows of tables in many files, encoded as they are read.

    ``rows`` is the number of training rows, from ``encode`` on. The ``dialect`` is known when there is a
    sample.

    Raises:
        FileNotFoundError, UnknownNameError, DataError: see :class:`nnbackend.data.Dataset`.
        ModuleNotFoundError: pyarrow is not installed.
    """

    rows: int = 0

    def __init__(
        self,
        files: Path,
        columns: list[str] | None = None,
        seed: int = 0,
        sample_rows: int = SAMPLE_ROWS,
        *,
        exclude: Iterable[str] = (),
        dialect: Dialect | None = None,
    ) -> None:
        pyarrow_module()
        self._files, paths = files, find_datasets(files)
        self.dialect = dialect or Dialect()
        if ending_of(paths[0], FORMATS).startswith((".csv", ".tsv")):
            with reading(paths[0]):
                self.dialect = find_dialect(paths[0], self.dialect)
        self._columns = columns_of(paths[0], self.dialect)
        wanted, left_out = columns or self._columns, set(exclude)
        check_columns(self._columns, (*wanted, *left_out))
        self._names = [name for name in wanted if name and name not in left_out]
        self._asked = columns or ()
        read = partial(pieces_of, names=self._names, like=paths[0], dialect=self.dialect)
        self._pieces = [piece for path in paths for piece in read(path)[0]]
        self._sampled: dict[int, int] = {}  # rows at the beginning of a piece
        self._order = Generator.of(seed, "sample").permutation(len(self._pieces))
        self._sample_rows = sample_rows
        self._encoder: TableEncoder | None = None
        self._kept: tuple[NDArray[Any], NDArray[Any]] | None = None
        self._piece_rows: list[int] = []  # that train; the last piece is the sample

    def _batches(self, piece: Piece, names: list[str]) -> Iterator[tuple[int, Any]]:
        return batches_of(piece, names, self.dialect)

    def sample(self, kinds: Mapping[str, WantedKind | None]) -> Table:
        """Return the first rows of the pieces in random order, until there are enough."""
        import polars

        check_columns(self._names, kinds)
        frames = list(self._sample_frames())
        if not frames:
            raise DataError("the files hold no rows")
        frame = polars.concat(frames, how="vertical_relaxed")
        self._names = readable_columns(frame, [*self._asked, *kinds])
        self.dialect = find_numerals(frame, self.dialect)
        with naming_lines(self._files, self.dialect):
            return table_of(frame, self._names, kinds, self.dialect)

    def _sample_frames(self) -> Iterator[pl.DataFrame]:
        wanted = self._sample_rows
        for number in map(int, self._order):
            for _, batch in self._batches(self._pieces[number], self._names):
                part = frame_of(batch.slice(0, wanted))
                yield part
                wanted -= part.height
                self._sampled[number] = self._sampled.get(number, 0) + part.height
                if not wanted:
                    return

    def encode(
        self,
        encoder: TableEncoder,
        x: NDArray[Any],
        y: NDArray[Any],
        parallel: MPI | None = None,
    ) -> None:
        """Set the encoding, and the rows of the sample that train; count the others that do.

        Several processes share the counting; ``parallel`` are these.

        Raises:
            ValueError: they have not read the same sample.
        """
        self._encoder, self._kept = encoder, (x, y)
        numbers = range(len(self._pieces))
        if parallel is not None:
            own = [whole_checksum((x, y), np.asarray), len(numbers)]
            if any(other != own for other in parallel.processes.gather(own)):
                raise ValueError(
                    f"the processes read different rows from {self._files}: let it be on a file system "
                    "that all of them see"
                )
        if parallel is None or len(numbers) < parallel.size:  # else they had to wait for each other
            counts = list(map(self._count_rows, numbers))
        else:
            rank, size = parallel.rank, parallel.size
            found = parallel.processes.gather(list(map(self._count_rows, numbers[rank::size])))
            counts = [found[number % size][number // size] for number in numbers]
        self._piece_rows = [*counts, len(y)]
        self.rows = sum(self._piece_rows)

    def _count_rows(self, number: int) -> int:
        """Return how many rows of a piece train, without those of the sample."""
        assert self._encoder is not None
        target = self._encoder.target.name
        tables = self._tables(number, {target: self._encoder.kinds[target]})
        return sum(row_count(table) for _, table in tables)

    @property
    def piece_rows(self) -> Sequence[int]:
        """The training rows of each row group, record batch or file, and at last of the sample."""
        return self._piece_rows

    def chunks(self, epoch: int, order: Generator | None) -> Chunks:
        """Return the training rows, those of the sample included; see :meth:`Source.chunks`."""
        assert self._kept is not None
        assert self._encoder is not None
        encoder = self._encoder
        for number, start, stop in self._own(order):
            if number == len(self._pieces):
                x, y = self._kept
                end = len(y) if stop is None else stop
                for i in range(start, end, _CHUNK_ROWS):
                    part = slice(i, min(i + _CHUNK_ROWS, end))
                    yield Chunk(x[part], y[part], None, "the sample", i)
                continue
            where = self._pieces[number].where
            for first, table in self._tables(number, encoder.kinds, start, stop):
                with _at(where, first):
                    x, y = encoder.encode_features(table), encoder.encode_target(table)
                yield Chunk(x, y, None, where, first)

    def _tables(
        self,
        number: int,
        kinds: Mapping[str, WantedKind],
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[tuple[int, Table]]:
        """Return the rows of a piece that have a target and are not in the sample, part by part.

        Of these rows the ``start`` first ones are left out, and those from ``stop`` on.
        """
        assert self._encoder is not None
        piece, skip, seen = self._pieces[number], self._sampled.get(number, 0), 0
        target = {self._encoder.target.name: kinds[self._encoder.target.name]}
        for first, batch in self._batches(piece, list(kinds)):
            left = max(skip - (first - piece.first), 0)
            if left >= batch.num_rows:
                continue
            frame = frame_of(batch.slice(left))
            with _at(piece.where, first + left):
                # Of rows that are another process's nothing but the target is looked at.
                wanted = target if seen < start else kinds
                table = table_of(frame, wanted, wanted, self.dialect)
                known = np.flatnonzero(~missing(table[self._encoder.target.name]))
                before, seen = seen, seen + len(known)
                known = known[max(start - before, 0) : None if stop is None else stop - before]
                if wanted is not kinds and len(known):
                    table = table_of(frame, kinds, kinds, self.dialect)
            if len(known):
                yield first + left, take_rows(table, known)
            if stop is not None and seen >= stop:
                return


@contextmanager
def _at(where: str, first: int) -> Iterator[None]:
    """Add the place of the rows to what is wrong with them."""
    try:
        yield
    except ColumnError as error:
        raise DataError(f"{where}, rows from {first}: {error.for_command_line}") from error
    except ValueError as error:
        raise DataError(f"{where}, rows from {first}: {error}") from error
