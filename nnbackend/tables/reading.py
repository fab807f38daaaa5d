"""Tables read from files: :func:`read_table` brings every format to the same form."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.data.files import ending_of, find_files
from nnbackend.errors import unknown_name
from nnbackend.tables.table import Kind, Table, few, warn

if TYPE_CHECKING:
    import os

    import polars as pl

__all__ = ["find_tables", "polars_module", "read_frame", "read_table", "table_of"]

MISSING_WORDS = ("", "NA", "N/A", "NaN", "nan", "null")


def read_table(
    path: str | os.PathLike[str],
    columns: Iterable[str] | None = None,
    kinds: Mapping[str, Kind | None] | None = None,
) -> Table:
    """Read a table from CSV, TSV, Parquet, JSON lines or `.npz` files.

    Args:
        path: the file; its ending names the format, and `.gz` may follow `.csv` and `.tsv`. A pattern
            such as ``folder/*.parquet``, or a folder, stands for all files of a known ending in it,
            whose rows are read one file after the other in the order of their names.
        columns: the columns to read, by default every one that has a name.
        kinds: whether a column, which has to be there, holds numbers or texts. For None, and for
            any other column, that is found out: numbers where every value is one.

    Returns:
        The columns by name, in the order of the file or of ``columns``.

    Raises:
        UnknownNameError: one of ``columns`` or ``kinds`` is not in the file.
        ValueError: the file is not what its ending says, is empty, or holds something that is
            neither number nor text; the message names the column and the row, counted from 1.
        ModuleNotFoundError: polars is not installed.
    """
    frame = read_frame(path)
    kinds = kinds or {}
    names = _without_empty(frame.columns) if columns is None else list(columns)
    for name in (*names, *kinds):
        if name not in frame.columns:
            raise unknown_name("column", name, _without_empty(frame.columns))
    if frame.height == 0:
        raise ValueError(f"{path} holds no rows")
    return table_of(frame, names, kinds)


def read_frame(path: str | os.PathLike[str]) -> pl.DataFrame:
    """Return every row of the files that a path stands for, see :func:`read_table`, as a frame."""
    return _read_frames(find_tables(path))


def table_of(frame: pl.DataFrame, names: Iterable[str], kinds: Mapping[str, Kind | None]) -> Table:
    """Return columns of a frame as a table; see :func:`read_table`."""
    return {name: _column(frame[name], kinds.get(name)) for name in names}


def _without_empty(columns: Iterable[str]) -> list[str]:
    return [name for name in columns if name]


def polars_module() -> Any:
    """Return polars, or say how to get it."""
    try:
        import polars
    except ModuleNotFoundError as error:
        message = "reading tables needs polars: pip install 'nnbackend[cli]'"
        raise ModuleNotFoundError(message, name="polars") from error
    return polars


def find_tables(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files that a path, a folder or a pattern stands for; see :func:`find_files`."""
    return find_files(path, _TABLE_READERS)


def _read_frames(paths: Sequence[Path]) -> pl.DataFrame:
    """Read files whose rows make one table; they must have the same columns, in any order."""
    first, *others = paths
    frame = _read_frame(first)
    columns, frames = frame.columns, [frame]
    for path in others:
        frame = _read_frame(path)
        differ = sorted(set(columns) ^ set(frame.columns))
        if differ:
            raise ValueError(f"{path} and {first} do not have the same columns: {few(differ)}")
        frames.append(frame.select(columns))
    if not others:
        return frames[0]
    polars = polars_module()
    try:
        return polars.concat(frames, how="vertical_relaxed")  # type: ignore[no-any-return]
    except polars.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{first} and the others do not hold the same: {reason}") from error


def _read_frame(path: Path) -> pl.DataFrame:
    ending, raised = ending_of(path, _TABLE_READERS), polars_module().exceptions
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    try:
        return _TABLE_READERS[ending](path)
    except (*_READ_ERRORS, raised.PolarsError, raised.PanicException) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} is not a readable {ending} file: {reason}") from error


# What the readers below raise for a file that is damaged, or that is something else.
_READ_ERRORS: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, KeyError, MemoryError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


def _read_delimited(path: Path, separator: str) -> pl.DataFrame:
    """Read lines of separated texts; numbers are recognized later, column by column."""
    frame = polars_module().read_csv(
        path, separator=separator, has_header=False, infer_schema=False
    )
    header = [(name or "").strip() for name in frame.row(0)]
    repeated = sorted({name for name in _without_empty(header) if header.count(name) > 1})
    if repeated:
        raise ValueError(f"more than one column is named {', '.join(map(repr, repeated))}")
    if "" in header:
        warn(f"{header.count('')} column(s) without a name left out of {path}")
    kept = {name: frame.to_series(i).slice(1) for i, name in enumerate(header) if name}
    rows = polars_module().DataFrame(kept)
    return rows.head(rows.height - _blank_lines_at_end(path, rows))  # type: ignore[no-any-return]


def _blank_lines_at_end(path: Path, rows: pl.DataFrame) -> int:
    """Return how many blank lines follow the table; elsewhere, and in a single column, they are rows."""
    empty = rows.select(polars_module().all_horizontal(polars_module().all().is_null())).to_series()
    if rows.width < 2 or not rows.height or not empty[-1]:
        return 0
    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as file:
        last = deque(file, maxlen=rows.height)
    return sum(1 for _ in takewhile(lambda line: not line.strip(), reversed(last)))


def _read_npz(path: Path) -> pl.DataFrame:
    """Read named arrays; an array of several columns becomes ``name_0``, ``name_1`` and so on."""
    columns: dict[str, NDArray[Any]] = {}
    with path.open("rb") as file:  # NumPy would leave a damaged one open
        arrays = np.load(file, allow_pickle=False)
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array without a name")
        for name in arrays:
            columns |= _array_columns(name, np.asarray(arrays[name]))
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"its arrays differ in length: {lengths}")
    return polars_module().DataFrame(columns)  # type: ignore[no-any-return]


def _array_columns(name: str, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    if array.ndim == 0 or array.dtype.kind not in "biufU":
        raise ValueError(f"array {name!r} ({array.dtype}) is no column of numbers or texts")
    if array.ndim == 1:
        return {name: array}
    flat = array.reshape(len(array), -1)
    return {f"{name}_{i}": flat[:, i] for i in range(flat.shape[1])}


_TABLE_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": partial(_read_delimited, separator=","),
    ".csv.gz": partial(_read_delimited, separator=","),
    ".tsv": partial(_read_delimited, separator="\t"),
    ".tsv.gz": partial(_read_delimited, separator="\t"),
    ".parquet": lambda path: polars_module().read_parquet(path),
    ".jsonl": lambda path: polars_module().read_ndjson(path, infer_schema_length=None),
    ".ndjson": lambda path: polars_module().read_ndjson(path, infer_schema_length=None),
    ".npz": _read_npz,
}


def _column(series: pl.Series, kind: Kind | None) -> NDArray[Any]:
    """Return a column as float64 with NaN, or as texts with None, whichever ``kind`` it is."""
    polars = polars_module()
    is_text = series.dtype in (polars.String, polars.Categorical, polars.Enum, polars.Boolean)
    if not (is_text or series.dtype.is_numeric() or series.dtype == polars.Null):
        raise ValueError(
            f"column {series.name!r} holds {series.dtype}, neither numbers nor texts; "
            "leave it out with --features"
        )
    if kind == "text":
        return _as_objects(_texts(series))
    if is_text:
        return _numbers_or_texts(series, kind)
    return _numbers(series)


def _texts(series: pl.Series) -> pl.Series:
    """Return a column as texts, null where a value is missing."""
    polars = polars_module()
    if series.dtype.is_float() and (series.is_nan() | (series == series.round())).all():
        # A class or category 1.0 is the class 1 of a file that stores whole numbers.
        series = series.fill_nan(None).cast(polars.Int64, strict=False)
    texts = series.cast(polars.String).str.strip_chars()
    return texts.set(texts.is_in(MISSING_WORDS), None)


def _numbers_or_texts(series: pl.Series, kind: Kind | None) -> NDArray[Any]:
    """Read texts as numbers where all are; a few texts among numbers are a mistake in the file."""
    texts = _texts(series)
    numbers = texts.cast(polars_module().Float64, strict=False)
    wrong = texts.is_not_null() & numbers.is_null()
    if not wrong.any():
        return _numbers(numbers)
    if kind == "number" or wrong.sum() <= texts.count() / 2:
        row = wrong.arg_max() or 0
        raise ValueError(
            f"column {series.name!r} holds numbers, but row {row + 1} holds {texts[row]!r}; "
            "correct it, or leave the column out with --features"
        )
    return _as_objects(texts)


def _as_objects(texts: pl.Series) -> NDArray[Any]:
    return np.array(texts.to_list(), dtype=object)


def _numbers(series: pl.Series) -> NDArray[Any]:
    numbers = series.cast(polars_module().Float64).fill_null(math.nan).to_numpy()
    infinite = np.isinf(numbers)
    if infinite.any():
        row = int(infinite.argmax())
        raise ValueError(f"column {series.name!r} is infinite in row {row + 1}")
    return numbers
