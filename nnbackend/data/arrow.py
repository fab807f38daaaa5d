"""Files of tables as pyarrow reads them: piece by piece, each a batch of rows at a time."""

from __future__ import annotations

import glob
import os
from collections.abc import Generator as Generated
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnbackend.errors import DataError

__all__ = ["Piece", "batches_of", "columns_of", "found", "pieces_of", "pyarrow_module", "reading"]

_FILE_ENDINGS = {
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


def found(files: Any) -> list[Path]:
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
    known = next((kind for ending, kind in _FILE_ENDINGS.items() if name.endswith(ending)), None)
    if known is None and required:
        raise ValueError(
            f"cannot tell what {path} holds by its ending; known: {', '.join(_FILE_ENDINGS)}"
        )
    return known


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Add the file's name to errors in reading it."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there any more") from error
    except (OSError, UnicodeDecodeError, pyarrow_module().ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read: {reason}") from error


def columns_of(path: Path) -> list[str]:
    """Return the names of the columns of a file."""
    with reading(path):
        return list(_described(path)[1])


def pieces_of(path: Path, names: list[str], like: Path) -> tuple[list[Piece], dict[str, Any]]:
    """Return the pieces of a file, and the types of its columns by name.

    Raises:
        DataError: the file cannot be read, or has no column of a name, which ``like`` has.
    """
    with reading(path):
        counts, types = _described(path)
    missing = [name for name in names if name not in types]
    if missing:
        raise DataError(f"{path} has no column {', '.join(map(repr, missing))}, which {like} has")
    pieces, first = [], 0
    for i, count in enumerate(counts):
        pieces.append(Piece(path, i, first, count))
        first += count or 0
    return pieces or [Piece(path)], types


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


def batches_of(
    piece: Piece, names: list[str], text: bool = False
) -> Generated[tuple[int, Any], None, None]:
    """Yield the record batches of a piece, each with the number of its first row.

    Columns of CSV files, which do not say what they hold, are read as texts if ``text`` is true, else as
    numbers.

    Raises:
        DataError: the file cannot be read, or is not what it was.
    """
    seen = 0
    with reading(piece.path), closing(_batches(piece, names, text)) as batches:
        for batch in batches:
            if batch.num_rows:
                yield piece.first + seen, batch
                seen += batch.num_rows
    if piece.rows not in (None, seen):
        raise DataError(
            f"{piece.path} has changed since it was first looked at: {seen} rows where "
            f"there were {piece.rows}"
        )


def _batches(piece: Piece, names: list[str], text: bool) -> Generated[Any, None, None]:
    """Return the record batches of a piece."""
    kind = _format(piece.path)
    if kind == "parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(piece.path, buffer_size=_BUFFER_BYTES) as file:
            yield from file.iter_batches(
                _CHUNK_ROWS, row_groups=[piece.number], columns=names, use_threads=False
            )
    elif kind == "csv":
        with _csv(piece.path, names, text) as file:
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


def _csv(path: Path, names: list[str] | None, text: bool = False) -> Any:
    """Open a CSV file, or a compressed one, that is parsed a piece at a time."""
    from pyarrow import csv

    pyarrow = pyarrow_module()
    # A file does not start with whole numbers only to have others later on.
    kind = pyarrow.string() if text else pyarrow.float64()
    types = dict.fromkeys(names or (), kind)
    return csv.open_csv(
        pyarrow.input_stream(str(path), compression="detect"),
        csv.ReadOptions(use_threads=False, block_size=_CSV_BYTES),
        csv.ParseOptions(delimiter="\t" if ".tsv" in path.name.lower() else ","),
        csv.ConvertOptions(include_columns=names, column_types=types),
    )


@contextmanager
def _arrow(path: Path) -> Iterator[Any]:
    """Open an Arrow file, or one of the streaming format."""
    pyarrow = pyarrow_module()
    with pyarrow.OSFile(str(path)) as source:
        magic = source.read(6)
        source.seek(0)
        opened = pyarrow.ipc.open_file if magic == b"ARROW1" else pyarrow.ipc.open_stream
        with opened(source) as file:
            yield file
