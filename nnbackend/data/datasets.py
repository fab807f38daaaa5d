"""Datasets: tables of many files, read a piece at a time.

Parquet, CSV and Arrow files are read through pyarrow (the extra ``data``), which knows the row groups
of a Parquet file and reads a CSV file a megabyte at a time.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Generator as Generated
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.checks import check_size
from nnbackend.data.sources import PREFETCH, SHUFFLE_BUFFER, Chunk, Chunks, Source, checked_prefetch
from nnbackend.errors import DataError, unknown_name
from nnbackend.random import Generator
from nnbackend.types import Shape

__all__ = ["Dataset"]

_ENDINGS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".tsv.gz": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_CHUNK_ROWS = 4096  # rows that are decoded together
_CSV_BYTES = 1 << 20  # of a CSV file that are parsed together
_BUFFER_BYTES = 1 << 16  # read ahead in a column of a Parquet file


@dataclass(frozen=True)
class _Piece:
    """What is read from front to end: a row group, a record batch, or a whole file.

    Attributes:
        path: of the file.
        number: of the row group or record batch; None: the whole file.
        first: the number of its first row in the file.
        rows: how many it has; None: not known before.
    """

    path: Path
    number: int | None = None
    first: int = 0
    rows: int | None = None

    @property
    def where(self) -> str:
        """The place of the rows, for messages."""
        if self.number is None or self.rows is not None:
            return str(self.path)
        return f"record batch {self.number} of {self.path}"


class Dataset(Source):
    """A table of numbers in many files, of which a small part is in memory at any time.

    Where ``fit`` shuffles, files (of Parquet and Arrow files: their row groups and record batches) are
    read in random order, and rows are shuffled within a buffer. The order depends on the seed and the
    epoch alone.

    Args:
        files: a pattern such as ``"folder/*.parquet"``, a folder, a file, or several of these. Endings
            name the format: .parquet, .csv or .tsv (also .gz), .arrow, .feather or .ipc.
        target: the column, or columns, to predict.
        features: the columns to predict from, in the network's order; None: all others.
        weight: the column that says how much each row counts, or None.
        shuffle_buffer: how many rows to shuffle together. The larger, the better mixed are rows that
            lie side by side in a file.
        prefetch: how many blocks of rows are prepared ahead, in a thread; 0: none.

    Attributes:
        files: what was found, in order of names.
        features: the names of the columns.
        rows: of all files, or None where some are not Parquet, which alone say it beforehand.

    Raises:
        FileNotFoundError: no file matches.
        UnknownNameError: a column is not in the files.
        DataError: a file cannot be read, has other columns, or columns of anything but numbers.
        ModuleNotFoundError: pyarrow is not installed.
    """

    def __init__(
        self,
        files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        target: str | Sequence[str],
        features: Sequence[str] | None = None,
        weight: str | None = None,
        shuffle_buffer: int = SHUFFLE_BUFFER,
        prefetch: int = PREFETCH,
    ) -> None:
        _pyarrow()
        self.files = _found(files)
        self.shuffle_buffer = check_size("shuffle_buffer", shuffle_buffer)
        self.prefetch = checked_prefetch(prefetch)
        columns = _columns(self.files[0])
        self._one_target = isinstance(target, str)
        self.target = [target] if isinstance(target, str) else list(target)
        self.weight = weight
        taken = [*self.target, *([] if weight is None else [weight])]
        self.features = (
            [name for name in columns if name not in taken] if features is None else list(features)
        )
        for name in (*taken, *self.features):
            if name not in columns:
                raise unknown_name("column", name, columns)
        both = sorted(set(taken) & set(self.features))
        if both:
            raise ValueError(
                f"{', '.join(both)} cannot be a feature and a target or weight as well"
            )
        if not self.features or not self.target:
            raise ValueError("a dataset needs a target and at least one other column")
        self._names = [*self.features, *taken]
        self._pieces = [piece for path in self.files for piece in self._pieces_of(path)]
        counts = [piece.rows for piece in self._pieces]
        self.rows = None if None in counts else sum(c for c in counts if c is not None)
        if self.rows == 0:
            raise DataError(f"{self.files[0]} and the others hold no rows")

    def chunks(self, epoch: int, order: Generator | None) -> Chunks:
        """Return the rows, piece by piece; see :meth:`Source.chunks`."""
        count = len(self._pieces)
        for i in range(count) if order is None else order.permutation(count):
            piece = self._pieces[int(i)]
            first, seen = piece.first, 0
            with _reading(piece.path), closing(_batches(piece, self._names)) as batches:
                for batch in batches:
                    if batch.num_rows:
                        yield self._chunk(batch, piece.where, first + seen)
                        seen += batch.num_rows
            if piece.rows not in (None, seen):
                raise DataError(
                    f"{piece.path} has changed since it was first looked at: {seen} rows where "
                    f"there were {piece.rows}"
                )

    def feature_shape(self) -> Shape:
        """Return the shape of a row's features."""
        return (len(self.features),)

    def __repr__(self) -> str:
        rows = "rows not counted" if self.rows is None else f"{self.rows} rows"
        return f"Dataset({len(self.files)} files, {rows}, {len(self.features)} features)"

    def _pieces_of(self, path: Path) -> list[_Piece]:
        with _reading(path):
            counts, types = _described(path)
        missing = [name for name in self._names if name not in types]
        if missing:
            raise DataError(
                f"{path} has no column {', '.join(map(repr, missing))}, which {self.files[0]} has"
            )
        for name in self._names:
            _check_numeric(path, name, types[name])
        pieces, first = [], 0
        for i, count in enumerate(counts):
            pieces.append(_Piece(path, i, first, count))
            first += count or 0
        return pieces or [_Piece(path)]

    def _chunk(self, batch: Any, where: str, first: int) -> Chunk:
        """Return a record batch as arrays; refuse one with a gap, and say where."""
        columns = [_numbers(batch, name) for name in self._names]
        inputs, targets = len(self.features), len(self.target)
        numbers = np.empty((batch.num_rows, len(columns)), np.result_type("f4", *columns))
        for i, column in enumerate(columns):
            numbers[:, i] = column
        if not np.isfinite(numbers).all():
            row, column = np.argwhere(~np.isfinite(numbers))[0]
            found = batch.column(self._names[column])[int(row)]
            value = found if found.is_valid else "no value"
            raise DataError(
                f"column {self._names[column]!r} of {where} has {value} in row {first + row} (the "
                "first is 0); remove or impute such rows"
            )
        y = numbers[:, inputs] if self._one_target else numbers[:, inputs : inputs + targets]
        weight = None if self.weight is None else numbers[:, -1]
        return Chunk(numbers[:, :inputs], y, weight, where, first)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        message = "datasets of files need pyarrow: pip install 'nnbackend[data]'"
        raise ModuleNotFoundError(message, name="pyarrow") from error
    return pyarrow


def _found(files: Any) -> list[Path]:
    """Return the files that paths, folders and patterns stand for."""
    several = [files] if isinstance(files, str | os.PathLike) else list(files)
    found: list[Path] = []
    for entry in several:
        given = os.fspath(entry)
        if os.path.isdir(given):
            inside = sorted(p for p in Path(given).iterdir() if p.is_file() and _format(p, False))
        elif os.path.exists(given):
            inside = [Path(given)]
        else:
            inside = [Path(name) for name in sorted(glob.glob(given, recursive=True))]
        if not inside:
            raise FileNotFoundError(f"there is no file of a known format in {given}")
        found += inside
    if not found:
        raise FileNotFoundError("no files were given")
    for path in found:
        _format(path)
    return found


def _format(path: Path, required: bool = True) -> str | None:
    """Return the format that a file's ending names."""
    name = path.name.lower()
    known = next((kind for ending, kind in _ENDINGS.items() if name.endswith(ending)), None)
    if known is None and required:
        raise ValueError(
            f"cannot tell what {path} holds by its ending; known: {', '.join(_ENDINGS)}"
        )
    return known


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Let what goes wrong with a file name the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there any more") from error
    except (OSError, UnicodeDecodeError, _pyarrow().ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read: {reason}") from error


def _columns(path: Path) -> list[str]:
    with _reading(path):
        return list(_described(path)[1])


def _described(path: Path) -> tuple[list[int] | list[None], dict[str, Any]]:
    """Return the rows of each piece (None: not said; no piece: the file is one), and column types."""
    kind = _format(path)
    if kind == "parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            groups = file.metadata.num_row_groups
            counts = [file.metadata.row_group(i).num_rows for i in range(groups)]
            return counts, _types(file.schema_arrow)
    if kind == "csv":
        with _csv(path, None) as file:
            return [], _types(file.schema)
    with _arrow(path) as file:
        return [None] * getattr(file, "num_record_batches", 0), _types(file.schema)


def _types(schema: Any) -> dict[str, Any]:
    repeated = {name for name in schema.names if schema.names.count(name) > 1}
    if repeated:
        raise DataError(f"more than one column is named {', '.join(map(repr, sorted(repeated)))}")
    return dict(zip(schema.names, schema.types, strict=True))


def _batches(piece: _Piece, names: list[str]) -> Generated[Any, None, None]:
    """Return the record batches of a piece."""
    kind = _format(piece.path)
    if kind == "parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(piece.path, buffer_size=_BUFFER_BYTES) as file:
            yield from file.iter_batches(
                _CHUNK_ROWS, row_groups=[piece.number], columns=names, use_threads=False
            )
    elif kind == "csv":
        with _csv(piece.path, names) as file:
            yield from file
    else:
        with _arrow(piece.path) as file:
            if piece.number is None:
                for batch in file:
                    yield from _cut(batch)
            else:
                yield from _cut(file.get_batch(piece.number))


def _cut(batch: Any) -> Iterator[Any]:
    return (batch.slice(i, _CHUNK_ROWS) for i in range(0, batch.num_rows, _CHUNK_ROWS))


def _csv(path: Path, names: list[str] | None) -> Any:
    """Open a CSV file, or a compressed one, that is parsed a piece at a time."""
    from pyarrow import csv

    pyarrow = _pyarrow()
    # All columns that are wanted are numbers: a file does not start with whole numbers only to have
    # others later on.
    types = dict.fromkeys(names or (), pyarrow.float64())
    return csv.open_csv(
        pyarrow.input_stream(str(path), compression="detect"),
        csv.ReadOptions(use_threads=False, block_size=_CSV_BYTES),
        csv.ParseOptions(delimiter="\t" if ".tsv" in path.name.lower() else ","),
        csv.ConvertOptions(include_columns=names, column_types=types),
    )


@contextmanager
def _arrow(path: Path) -> Iterator[Any]:
    """Open an Arrow file, or one of the streaming format."""
    pyarrow = _pyarrow()
    with pyarrow.OSFile(str(path)) as source:
        magic = source.read(6)
        source.seek(0)
        opened = pyarrow.ipc.open_file if magic == b"ARROW1" else pyarrow.ipc.open_stream
        with opened(source) as file:
            yield file


def _check_numeric(path: Path, name: str, kind: Any) -> None:
    """Refuse a column that does not hold numbers."""
    types = _pyarrow().types
    numeric = (
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_decimal,
        types.is_null,
    )
    if not any(is_kind(kind) for is_kind in numeric):
        raise DataError(
            f"column {name!r} of {path} holds {kind}, not numbers; leave it out with features=[...], "
            "or encode it beforehand"
        )


def _numbers(batch: Any, name: str) -> NDArray[Any]:
    """Return a column as numbers, NaN where there is no value."""
    pyarrow = _pyarrow()
    column = batch.column(name)
    floating = pyarrow.types.is_floating(column.type)
    if not floating and (not pyarrow.types.is_integer(column.type) or column.null_count):
        column = column.cast(pyarrow.float64())
    numbers: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return numbers
