"""Tables read from files: :func:`read_table` brings every format to the same form."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nnbackend.data.arrow import batches_of, pieces_of, pyarrow_module
from nnbackend.data.files import ending_of, find_files
from nnbackend.errors import DataError, few, unknown_name
from nnbackend.tables.arrays import array_of, headers_of
from nnbackend.tables.columns import (
    StrayTextError,
    bytes_of,
    frame_of,
    pick_columns,
    readable_columns,
    table_of,
)
from nnbackend.tables.delimited import find_dialect, line_numbers, read_delimited
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.limits import MEMORY_PER_BYTE, check_memory
from nnbackend.tables.table import Table, WantedKind, polars_module
from nnbackend.tables.units import find_numerals

if TYPE_CHECKING:
    import os

    import polars as pl

__all__ = [
    "check_columns",
    "dialect_of",
    "find_tables",
    "is_table_name",
    "naming_lines",
    "open_table",
    "read_frame",
    "read_table",
]


_TEXT_BYTES = 16  # that a text takes besides its characters


def read_table(
    path: str | os.PathLike[str],
    columns: Iterable[str] | None = None,
    kinds: Mapping[str, WantedKind | None] | None = None,
    *,
    exclude: Iterable[str] = (),
    dialect: Dialect | None = None,
) -> Table:
    """Read a table from CSV, TSV, Parquet, Feather, Arrow, JSON lines or `.npz` files.

    Args:
        path: the file; its ending names the format, and `.gz` may follow `.csv` and `.tsv`. A pattern
            such as ``folder/*.parquet``, or a folder, stands for all files of a known ending in it,
            whose rows are read one file after the other in the order of their names.
        columns: the columns to read, by default every one that has a name.
        kinds: what a column, which has to be there, holds; for None, and for any other column, that is
            found out: numbers where every value is one. Booleans are the numbers 0 and 1, but
            texts in a ``"target"``.
        exclude: columns not to read.
        dialect: how texts stand for fields and numbers; None: that is found out.

    Returns:
        The columns by name, in the order of the file or of ``columns``.

    Raises:
        UnknownNameError: one of ``columns``, ``kinds`` or ``exclude`` is not in the file.
        ValueError: the file is not what its ending says, is empty, would take more than half of the free
            memory, or holds something that is neither number nor text; the message names the column
            and the row, counted from 1.
        ModuleNotFoundError: polars is not installed.
    """
    kinds = kinds or {}
    frame, dialect = open_table(path, columns, kinds, exclude=exclude, dialect=dialect)
    with naming_lines(path, dialect):
        return table_of(frame, frame.columns, kinds, dialect)


def open_table(
    path: str | os.PathLike[str],
    columns: Iterable[str] | None,
    kinds: Mapping[str, WantedKind | None],
    *,
    exclude: Iterable[str] = (),
    dialect: Dialect | None = None,
) -> tuple[pl.DataFrame, Dialect]:
    """Return the columns of a table as they are in its file, and its dialect; see :func:`read_table`."""
    frame, left_out = read_frame(path, dialect), set(exclude)
    wanted = frame.columns if columns is None else list(columns)
    check_columns(frame.columns, (*wanted, *kinds, *left_out))
    if frame.height == 0:
        raise ValueError(f"{path} holds no rows")
    frame = pick_columns(frame, (n for n in wanted if n and n not in left_out))
    if columns is None:
        frame = pick_columns(frame, readable_columns(frame, kinds))
    return frame, find_numerals(frame, dialect_of(path, dialect))


def dialect_of(path: str | os.PathLike[str], dialect: Dialect | None) -> Dialect:
    """Return the dialect of a table with the delimiter of its first file, if that is delimited text."""
    first, dialect = find_tables(path)[0], dialect or Dialect()
    if _READERS[ending_of(first, _READERS)] is not read_delimited:
        return dialect
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is found is said by the reader of each file
        return replace(dialect, delimiter=find_dialect(first, dialect).delimiter)


@contextmanager
def naming_lines(path: str | os.PathLike[str], dialect: Dialect) -> Iterator[None]:
    """Add to an error about stray texts in which lines of a delimited file they are."""
    try:
        yield
    except StrayTextError as error:
        files = find_tables(path)
        if len(files) > 1 or _READERS[ending_of(files[0], _READERS)] is not read_delimited:
            raise
        lines = line_numbers(files[0], dialect, set(error.texts))
        raise StrayTextError(error.column, error.texts, error.kind, lines) from None


def check_columns(there: Iterable[str], names: Iterable[str]) -> None:
    """Raise an UnknownNameError if a table has no column of a name."""
    known = dict.fromkeys(there)
    for name in names:
        if name not in known:
            raise unknown_name("column", name, [name for name in known if name])


def read_frame(path: str | os.PathLike[str], dialect: Dialect | None = None) -> pl.DataFrame:
    """Return every row of the files that a path stands for, see :func:`read_table`, as a frame."""
    first, *others = find_tables(path)
    dialect = dialect or Dialect()
    frames = [_read_file(first, dialect)]
    for other in others:
        frame = _read_file(other, dialect)
        differ = sorted(set(frames[0].columns) ^ set(frame.columns))
        if differ:
            raise ValueError(f"{other} and {first} do not have the same columns: {few(differ)}")
        frames.append(pick_columns(frame, frames[0].columns))
    if not others:
        return frames[0]
    polars = polars_module()
    try:
        return polars.concat(frames, how="vertical_relaxed")  # type: ignore[no-any-return]
    except polars.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{first} and the others do not hold the same: {reason}") from error


def is_table_name(path: Path) -> bool:
    """Return whether the ending of a name is that of a table."""
    return path.name.lower().endswith(tuple(_READERS))


def find_tables(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files that a path, a folder or a pattern stands for; see :func:`find_files`."""
    return find_files(path, _READERS)


def _read_file(path: Path, dialect: Dialect) -> pl.DataFrame:
    """Return the rows of a file; whatever fails in reading one that is damaged is a ValueError."""
    ending, panic = ending_of(path, _READERS), polars_module().exceptions.PanicException
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    try:
        return _READERS[ending](path, dialect)
    except DataError as error:
        raise ValueError(str(error)) from error
    except (Exception, panic) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} is not a readable {ending} file: {reason}") from error


def _read_parquet(path: Path, dialect: Dialect) -> pl.DataFrame:
    polars = polars_module()
    lazy = polars.scan_parquet(path)
    rows, columns = lazy.select(polars.len()).collect().item(), len(lazy.collect_schema())
    check_memory(8 * rows * columns)  # before any of them is read
    return _checked(lazy.collect())


def _read_arrow(path: Path, dialect: Dialect) -> pl.DataFrame:
    """Read record batches, by pyarrow where that is: it checks what a damaged file says of itself."""
    polars = polars_module()
    try:
        pyarrow_module()
    except ModuleNotFoundError:
        return _checked(polars.read_ipc(path))
    pieces, types = pieces_of(path, [], path)
    frames, size = [], 0
    for piece in pieces:
        for _, batch in batches_of(piece, list(types)):
            size += bytes_of(batch)
            check_memory(2 * size)
            frames.append(frame_of(batch))
    if not frames:
        raise ValueError("it holds no rows")
    return _checked(polars.concat(frames, how="vertical_relaxed"))


def _checked(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose texts fit into memory, each as often as it is there."""
    check_memory(MEMORY_PER_BYTE * sum(map(_text_bytes, frame.get_columns())))
    return frame


def _text_bytes(column: pl.Series) -> int:
    """Return the bytes of the texts in a column, in which equal texts may be stored once."""
    polars, column = polars_module(), column.alias("text")
    if column.dtype == polars.String:
        return int(column.str.len_bytes().cast(polars.UInt64).sum())
    if column.dtype not in (polars.Categorical, polars.Enum):
        return 0
    counts = column.value_counts()
    sizes = counts["text"].cast(polars.String).str.len_bytes().cast(polars.UInt64)
    return int((sizes * counts["count"].cast(polars.UInt64)).sum() or 0)


def _read_json_lines(path: Path, dialect: Dialect) -> pl.DataFrame:
    check_memory(MEMORY_PER_BYTE * path.stat().st_size)
    return polars_module().read_ndjson(path, infer_schema_length=None)  # type: ignore[no-any-return]


def _read_npz(path: Path, dialect: Dialect) -> pl.DataFrame:
    """Read named arrays; an array of several columns becomes ``name_0``, ``name_1`` and so on."""
    headers = headers_of(path)
    check_memory(sum(header.bytes for header in headers.values()))
    columns: dict[str, NDArray[Any]] = {}
    for name in headers:
        columns |= _array_columns(name, array_of(path, name))
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"its arrays differ in length: {lengths}")
    return polars_module().DataFrame(columns)  # type: ignore[no-any-return]


def _array_columns(name: str, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    if array.ndim == 0 or array.dtype.kind not in "biufU":
        raise ValueError(f"array {name!r} ({array.dtype}) is no column of numbers or texts")
    if array.dtype.kind == "U":  # those of no characters take nothing in the file
        check_memory(_TEXT_BYTES * array.size)
    if array.ndim == 1:
        return {name: array}
    flat = array.reshape(len(array), -1)
    return {f"{name}_{i}": flat[:, i] for i in range(flat.shape[1])}


_READERS: dict[str, Callable[[Path, Dialect], pl.DataFrame]] = {
    **dict.fromkeys((".csv", ".csv.gz", ".tsv", ".tsv.gz"), read_delimited),
    **dict.fromkeys((".parquet", ".pq"), _read_parquet),
    **dict.fromkeys((".jsonl", ".ndjson"), _read_json_lines),
    ".npz": _read_npz,
    **dict.fromkeys((".feather", ".arrow", ".ipc"), _read_arrow),
}
