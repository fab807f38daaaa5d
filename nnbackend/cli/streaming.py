"""``nnbackend train --stream``: tables that are read again in each epoch, a part at a time.

Medians, scales, categories and classes are learned before training from a sample, of which a share
validates; all other rows of the files, and the rest of the sample, train.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

    def encode(self, encoder: TableEncoder, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Set the encoding, and the rows of the sample that train; count the others that do."""
        self._encoder, self._kept = encoder, (x, y)
        target = {encoder.target.name: encoder.kinds[encoder.target.name]}
        others = (self._tables(number, target) for number in range(len(self._pieces)))
        self.rows = len(y) + sum(row_count(table) for tables in others for _, table in tables)

    def chunks(self, epoch: int, order: Generator | None) -> Chunks:
        """Return the training rows, those of the sample included; see :meth:`Source.chunks`."""
        assert self._kept is not None
        assert self._encoder is not None
        encoder, count = self._encoder, len(self._pieces) + 1
        for number in map(int, range(count) if order is None else order.permutation(count)):
            if number == len(self._pieces):
                x, y = self._kept
                for i in range(0, len(y), _CHUNK_ROWS):
                    part = slice(i, i + _CHUNK_ROWS)
                    yield Chunk(x[part], y[part], None, "the sample", i)
                continue
            where = self._pieces[number].where
            for first, table in self._tables(number, encoder.kinds):
                with _at(where, first):
                    x, y = encoder.encode_features(table), encoder.encode_target(table)
                yield Chunk(x, y, None, where, first)

    def _tables(self, number: int, kinds: Mapping[str, WantedKind]) -> Iterator[tuple[int, Table]]:
        """Return the rows of a piece that have a target and are not in the sample, part by part."""
        assert self._encoder is not None
        piece, skip = self._pieces[number], self._sampled.get(number, 0)
        for first, batch in self._batches(piece, list(kinds)):
            left = max(skip - (first - piece.first), 0)
            if left >= batch.num_rows:
                continue
            with _at(piece.where, first + left):
                table = table_of(frame_of(batch.slice(left)), kinds, kinds, self.dialect)
            known = ~missing(table[self._encoder.target.name])
            if known.any():
                yield first + left, take_rows(table, known)


@contextmanager
def _at(where: str, first: int) -> Iterator[None]:
    """Add the place of the rows to what is wrong with them."""
    try:
        yield
    except ColumnError as error:
        raise DataError(f"{where}, rows from {first}: {error.for_command_line}") from error
    except ValueError as error:
        raise DataError(f"{where}, rows from {first}: {error}") from error
