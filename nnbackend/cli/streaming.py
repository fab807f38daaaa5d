"""``nnbackend train --stream``: tables that are read again in each epoch, a part at a time.

Medians, scales, categories and classes are learned before training from a sample, of which a share
validates; all other rows of the files, and the rest of the sample, train.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
from nnbackend.tables.columns import find_decimal, readable_columns, table_of
from nnbackend.tables.delimited import find_dialect
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.reading import check_columns
from nnbackend.tables.table import Table, WantedKind, missing, take_rows

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SAMPLE_ROWS", "TableStream"]

SAMPLE_ROWS = 100_000
_CHUNK_ROWS = 4096


class TableStream(Source):
    """The rows of tables in many files, encoded as they are read.

    ``rows`` is the number of training rows: all, until ``encode`` says which rows of the sample do.

    Raises:
        FileNotFoundError, UnknownNameError, DataError: see :class:`nnbackend.data.Dataset`.
        ModuleNotFoundError: pyarrow is not installed.
    """

    rows: int

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
        paths = find_datasets(files)
        self._dialect = dialect or Dialect()
        if ending_of(paths[0], FORMATS).startswith((".csv", ".tsv")):
            with reading(paths[0]):
                self._dialect = find_dialect(paths[0], self._dialect)
        self._columns = columns_of(paths[0], self._dialect)
        wanted, left_out = columns or self._columns, set(exclude)
        check_columns(self._columns, (*wanted, *left_out))
        self._names = [name for name in wanted if name and name not in left_out]
        self._asked = columns or ()
        read = partial(pieces_of, names=self._names, like=paths[0], dialect=self._dialect)
        self._pieces = [piece for path in paths for piece in read(path)[0]]
        self._sampled: dict[int, int] = {}  # rows at the beginning of a piece
        self._order = Generator.of(seed, "sample").permutation(len(self._pieces))
        self._sample_rows = sample_rows
        self._encoder: TableEncoder | None = None
        self._kept: tuple[NDArray[Any], NDArray[Any]] | None = None
        self.rows = sum(self._count(piece) for piece in self._pieces)

    def _count(self, piece: Piece) -> int:
        if piece.rows is not None:
            return piece.rows
        return sum(batch.num_rows for _, batch in self._batches(piece, self._names[:1]))

    def _batches(self, piece: Piece, names: list[str]) -> Iterator[tuple[int, Any]]:
        return batches_of(piece, names, self._dialect)

    def sample(self, kinds: Mapping[str, WantedKind | None]) -> Table:
        """Return the first rows of the pieces in random order, until there are enough."""
        import polars

        check_columns(self._names, kinds)
        frames = list(self._sample_frames())
        if not frames:
            raise DataError("the files hold no rows")
        frame = polars.concat(frames, how="vertical_relaxed")
        self._names = readable_columns(frame, [*self._asked, *kinds])
        self._dialect = find_decimal(frame, self._dialect)
        return table_of(frame, self._names, kinds, self._dialect)

    def _sample_frames(self) -> Iterator[pl.DataFrame]:
        wanted = self._sample_rows
        for number in map(int, self._order):
            for _, batch in self._batches(self._pieces[number], self._names):
                part = _frame(batch.slice(0, wanted))
                yield part
                wanted -= part.height
                self._sampled[number] = self._sampled.get(number, 0) + part.height
                if not wanted:
                    return

    def encode(self, encoder: TableEncoder, x: NDArray[Any], y: NDArray[Any], sampled: int) -> None:
        """Set the encoding, and the rows of the sample that train, of the ``sampled`` ones."""
        self._encoder, self._kept = encoder, (x, y)
        self.rows += len(y) - sampled

    def chunks(self, epoch: int, order: Generator | None) -> Chunks:
        """Return the training rows, those of the sample included; see :meth:`Source.chunks`."""
        assert self._kept is not None
        count = len(self._pieces) + 1
        for number in map(int, range(count) if order is None else order.permutation(count)):
            if number == len(self._pieces):
                x, y = self._kept
                for i in range(0, len(y), _CHUNK_ROWS):
                    part = slice(i, i + _CHUNK_ROWS)
                    yield Chunk(x[part], y[part], None, "the sample", i)
                continue
            piece, skip = self._pieces[number], self._sampled.get(number, 0)
            for first, batch in self._batches(piece, self._names):
                left = max(skip - (first - piece.first), 0)
                chunk = self._encode(batch.slice(left), piece.where, first + left)
                if chunk is not None:
                    yield chunk

    def _encode(self, batch: Any, where: str, first: int) -> Chunk | None:
        """Return encoded rows, without those that have no target."""
        assert self._encoder is not None
        encoder = self._encoder
        try:
            table = table_of(_frame(batch), encoder.kinds, encoder.kinds, self._dialect)
            known = ~missing(table[encoder.target.name])
            if not known.any():
                return None
            table = take_rows(table, known)
            return Chunk(
                encoder.encode_features(table), encoder.encode_target(table), None, where, first
            )
        except ValueError as error:
            raise DataError(f"{where}, rows from {first}: {error}") from error


def _frame(batch: Any) -> pl.DataFrame:
    import polars

    frame = polars.from_arrow(batch)
    assert isinstance(frame, polars.DataFrame)
    # Each batch has categories of its own.
    return frame.with_columns(polars.col(polars.Categorical).cast(polars.String))
