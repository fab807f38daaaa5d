"""Files of tables as pyarrow reads them: piece by piece, each a batch of rows at a time."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as Generated
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from nnbackend.data.files import ending_of, find_files
from nnbackend.errors import DataError, listed

__all__ = [
    "FORMATS",
    "Piece",
    "batches_of",
    "columns_of",
    "find_datasets",
    "pieces_of",
    "pyarrow_module",
    "reading",
]

FORMATS = {
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".csv", ".csv.gz", ".tsv", ".tsv.gz"), "csv"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
}
_CHUNK_ROWS = 4096  # rows that are decoded together
_CSV_BYTES = 1 << 20  # of a CSV file that are parsed together
_LINE_LENGTH = 1 << 20  # of a text that is not read as it is
_BUFFER_BYTES = 1 << 16  # read ahead in a column of a Parquet file

_Opened: TypeAlias = tuple[Sequence[int | None] | None, Any, Callable[[int | None], Iterator[Any]]]


class TextDialect(Protocol):
    """How the lines of a text file are taken apart."""

    @property
    def delimiter(self) -> str | None:
        """What parts fields; None: as the file's ending says."""

    @property
    def encoding(self) -> str | None:
        """The file's encoding; None: UTF-8."""

    @property
    def comment(self) -> str | None:
        """What begins a line that is no row; None: there is none."""


@dataclass(frozen=True)
class Piece:
    """What is read from front to end: a row group, a record batch, or a whole file.

    Attributes:
        path: the path of the file.
        number: the number of the row group or record batch; None: the whole file.
        first: the number of its first row in the file.
        rows: the number of rows; None: unknown before.
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


def pyarrow_module() -> Any:
    """Return pyarrow, or say how to get it."""
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        message = "datasets of files need pyarrow: pip install 'nnbackend[data]'"
        raise ModuleNotFoundError(message, name="pyarrow") from error
    return pyarrow


def find_datasets(files: Any) -> list[Path]:
    """Return the files that paths, folders and patterns stand for; see :func:`find_files`."""
    return find_files(files, FORMATS)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Add the file's name to errors in reading it."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there any more") from error
    except Exception as error:  # whatever a library says of a file that is damaged
        reason = str(error).partition("\n")[0] or type(error).__name__
        ending = ending_of(path, FORMATS)
        raise DataError(f"{path} is not a readable {ending} file: {reason}") from error


def columns_of(path: Path, dialect: TextDialect | None = None) -> list[str]:
    """Return the names of the columns of a file."""
    with reading(path), _opened(path, None, dialect) as (_, schema, _):
        return list(_types(schema))


def pieces_of(
    path: Path, names: list[str], like: Path, dialect: TextDialect | None = None
) -> tuple[list[Piece], dict[str, Any]]:
    """Return the pieces of a file, and the types of its columns by name.

    Raises:
        DataError: the file cannot be read, or has no column of a name, which ``like`` has.
    """
    with reading(path), _opened(path, None, dialect) as (counts, schema, _):
        types = _types(schema)
    missing = [name for name in names if name not in types]
    if missing:
        raise DataError(f"{path} has no column {listed(map(repr, missing))}, which {like} has")
    if counts is None:
        return [Piece(path)], types
    pieces, first = [], 0
    for i, count in enumerate(counts):
        pieces.append(Piece(path, i, first, count))
        first += count or 0
    return pieces, types


def _types(schema: Any) -> dict[str, Any]:
    names, types = schema.names, schema.types
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise DataError(f"more than one column is named {listed(map(repr, repeated))}")
    return dict(zip(names, types, strict=True))


def batches_of(
    piece: Piece,
    names: list[str],
    dialect: TextDialect | None = None,
    start: int = 0,
    stop: int | None = None,
) -> Generated[tuple[int, Any], None, None]:
    """Yield the record batches of a piece, each with the number of its first row.

    Columns of CSV files, which do not say what they hold, are read as texts if a dialect is given, else
    as numbers.

    Args:
        piece: the piece.
        names: the columns to read.
        dialect: of text files; None (the default): numbers, separated as the file's ending says.
        start: the first of the rows that are wanted, by its number in the piece; default 0.
        stop: the last one plus 1; None (the default): all.

    Raises:
        DataError: the file cannot be read, or is not what it was.
    """
    seen = 0
    with reading(piece.path), _opened(piece.path, names, dialect) as (_, _, read):
        for found in read(piece.number):
            first, seen = max(start - seen, 0), seen + found.num_rows
            last = found.num_rows - (0 if stop is None else max(seen - stop, 0))
            if first < last:
                batch = found.slice(first, last - first)
                batch.validate(full=True)  # a damaged one could end the process where it is used
                yield piece.first + seen - found.num_rows + first, batch
            if stop is not None and seen >= stop:
                return
    if piece.rows not in (None, seen):
        raise DataError(
            f"{piece.path} has changed since it was first looked at: {seen} rows where "
            f"there were {piece.rows}"
        )


@contextmanager
def _opened(path: Path, names: list[str] | None, dialect: TextDialect | None) -> Iterator[_Opened]:
    """Open a file: the rows of each piece (None: not said), None if it is one piece; and a reader."""
    pyarrow, kind = pyarrow_module(), FORMATS[ending_of(path, FORMATS)]
    if kind == "parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES) as file:
            groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
            options = {"columns": names, "use_threads": False}
            yield (
                [group.num_rows for group in groups],
                file.schema_arrow,
                lambda number: file.iter_batches(_CHUNK_ROWS, row_groups=[number], **options),
            )
    elif kind == "csv":
        from pyarrow import csv

        # A file does not start with whole numbers only to have others later on.
        kind = pyarrow.float64() if dialect is None else pyarrow.string()
        delimiter = "\t" if ".tsv" in path.name.lower() else ","
        source = pyarrow.input_stream(str(path), compression="detect")
        if dialect is not None:
            delimiter = dialect.delimiter or delimiter
            if dialect.comment is not None or dialect.encoding not in (None, "utf-8"):
                source = pyarrow.PythonFile(_Lines(source, dialect), mode="r")
        with csv.open_csv(
            source,
            csv.ReadOptions(use_threads=False, block_size=_CSV_BYTES),
            csv.ParseOptions(delimiter=delimiter, newlines_in_values=dialect is not None),
            csv.ConvertOptions(
                include_columns=names, column_types=dict.fromkeys(names or (), kind)
            ),
        ) as file:
            yield None, file.schema, lambda number: file
    else:
        with pyarrow.OSFile(str(path)) as source:
            magic = source.read(6)
            source.seek(0)
            opened = pyarrow.ipc.open_file if magic == b"ARROW1" else pyarrow.ipc.open_stream
            with opened(source) as file:
                batches = getattr(file, "num_record_batches", None)
                counts = None if batches is None else [None] * batches
                yield counts, file.schema, lambda number: _cut(file, number)


class _Lines(io.RawIOBase):
    """The lines of a text file that are no comments, in UTF-8."""

    def __init__(self, source: Any, dialect: TextDialect) -> None:
        self._text = io.TextIOWrapper(source, dialect.encoding or "utf-8", newline="")
        self._comment, self._left = dialect.comment, b""

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, fewer at the end of the file."""
        parts, count = [self._left], len(self._left)
        while count < size and (line := self._text.readline(_LINE_LENGTH)):
            if len(line) == _LINE_LENGTH:
                raise ValueError(f"a line is longer than {_LINE_LENGTH:,} characters")
            if self._comment is None or not line.startswith(self._comment):
                parts.append(line.encode())
                count += len(parts[-1])
        content = b"".join(parts)
        self._left = content[size:]
        return content[:size]


def _cut(file: Any, number: int | None) -> Iterator[Any]:
    """Yield the record batches of an Arrow file, or only one of them, in parts of a few rows."""
    for batch in file if number is None else [file.get_batch(number)]:
        for i in range(0, batch.num_rows, _CHUNK_ROWS):
            yield batch.slice(i, _CHUNK_ROWS)
