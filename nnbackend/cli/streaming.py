"""``nnbackend train --stream``: tables that are read again in each epoch, a part at a time.

Medians, scales, categories and classes are learned before training from a sample, of which a share
validates; all other rows of the files, and the rest of the sample, train.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nnbackend.core.random import Generator
from nnbackend.data import Chunk, Source
from nnbackend.data.arrow import (
    Piece,
    batches_of,
    columns_of,
    find_datasets,
    pieces_of,
    pyarrow_module,
)
from nnbackend.data.sources import Chunks
from nnbackend.errors import DataError, unknown_name
from nnbackend.tables.encoding import TableEncoder
from nnbackend.tables.reading import table_of
from nnbackend.tables.table import Kind, Table, missing, take_rows

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
    ) -> None:
        pyarrow_module()
        paths = find_datasets(files)
        there = columns_of(paths[0])
        self._names = [name for name in there if name] if columns is None else columns
        for name in self._names:
            if name not in there:
                raise unknown_name("column", name, there)
        self._pieces = [p for path in paths for p in pieces_of(path, self._names, paths[0])[0]]
        self._sampled: dict[int, int] = {}  # rows at the beginning of a piece
        self._order = Generator.of(seed, "sample").permutation(len(self._pieces))
        self._sample_rows = sample_rows
        self._encoder: TableEncoder | None = None
        self._kept: tuple[NDArray[Any], NDArray[Any]] | None = None
        self.rows = sum(self._count(piece) for piece in self._pieces)

    def _count(self, piece: Piece) -> int:
        if piece.rows is not None:
            return piece.rows
        return sum(batch.num_rows for _, batch in batches_of(piece, self._names[:1], text=True))

    def sample(self, kinds: Mapping[str, Kind | None]) -> Table:
        """Return the first rows of the pieces in random order, until there are enough."""
        import polars

        frames = list(self._sample_frames())
        if not frames:
            raise DataError("the files hold no rows")
        return table_of(polars.concat(frames, how="vertical_relaxed"), self._names, kinds)

    def _sample_frames(self) -> Iterator[pl.DataFrame]:
        wanted = self._sample_rows
        for number in map(int, self._order):
            for _, batch in batches_of(self._pieces[number], self._names, text=True):
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
            for first, batch in batches_of(piece, self._names, text=True):
                left = max(skip - (first - piece.first), 0)
                chunk = self._encode(batch.slice(left), piece.where, first + left)
                if chunk is not None:
                    yield chunk

    def _encode(self, batch: Any, where: str, first: int) -> Chunk | None:
        """Return encoded rows, without those that have no target."""
        assert self._encoder is not None
        encoder = self._encoder
        try:
            table = table_of(_frame(batch), encoder.kinds, encoder.kinds)
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
    return frame
