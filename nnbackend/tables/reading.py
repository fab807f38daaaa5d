"""Tables: read from files, their columns chosen, their rows split.

A table is a dictionary of columns of one length. A column of numbers is a float64 array with NaN
where a value is missing; a column of texts is an object array with None there. :func:`read_table`
brings every file format to that form, and :mod:`nnbackend.tables.encoding` goes on from there.

Whatever is done to the data without being asked (rows dropped, columns left out, values filled in)
is said aloud through a :class:`TableWarning`.
"""

from __future__ import annotations

import glob
import math
import warnings
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnbackend.core.random import permutation
from nnbackend.data.splits import stratified
from nnbackend.errors import unknown_name

if TYPE_CHECKING:
    import os

    import polars as pl

__all__ = [
    "Kind",
    "Table",
    "TableWarning",
    "check_target",
    "choose_features",
    "few",
    "files_of",
    "is_number",
    "known_target",
    "missing",
    "read_table",
    "row_count",
    "split_rows",
    "table_of",
    "take_rows",
    "warn",
]

Table = dict[str, NDArray[Any]]
Kind = Literal["number", "text"]

MISSING_WORDS = ("", "NA", "N/A", "NaN", "nan", "null")
# A text column of more values than this is a name or an identifier, not a category.
MAX_CATEGORIES = 100


class TableWarning(UserWarning):
    """Something in the table was left out or filled in; the message says what and how much."""


def warn(message: str) -> None:
    """Say aloud what was done to a table."""
    warnings.warn(message, TableWarning, stacklevel=3)


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
    frame = _read_frames(files_of(path))
    kinds = kinds or {}
    names = _named(frame.columns) if columns is None else list(columns)
    for name in (*names, *kinds):
        if name not in frame.columns:
            raise unknown_name("column", name, _named(frame.columns))
    if frame.height == 0:
        raise ValueError(f"{path} holds no rows")
    return table_of(frame, names, kinds)


def table_of(frame: pl.DataFrame, names: Iterable[str], kinds: Mapping[str, Kind | None]) -> Table:
    """Return columns of a frame as a table; see :func:`read_table`."""
    return {name: _column(frame[name], kinds.get(name)) for name in names}


def _named(columns: Iterable[str]) -> list[str]:
    return [name for name in columns if name]


def _polars() -> Any:
    try:
        import polars
    except ModuleNotFoundError as error:
        message = "reading tables needs polars: pip install 'nnbackend[cli]'"
        raise ModuleNotFoundError(message, name="polars") from error
    return polars


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files that a path, a folder or a pattern stands for, in the order of their names.

    Raises:
        FileNotFoundError: there is none.
    """
    given = Path(path)
    if given.is_dir():
        files = [file for file in given.iterdir() if file.is_file() and _ending(file)]
    elif given.exists() or not glob.has_magic(str(path)):
        return [given]
    else:
        files = [file for file in map(Path, glob.glob(str(path), recursive=True)) if file.is_file()]
    if not files:
        raise FileNotFoundError(f"there is no table in {path}; known: {', '.join(_READERS)}")
    return sorted(files)


def _ending(path: Path) -> str | None:
    return next((e for e in _READERS if path.name.lower().endswith(e)), None)


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
    polars = _polars()
    try:
        return polars.concat(frames, how="vertical_relaxed")  # type: ignore[no-any-return]
    except polars.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{first} and the others do not hold the same: {reason}") from error


def _read_frame(path: Path) -> pl.DataFrame:
    polars = _polars()
    ending = _ending(path)
    if ending is None:
        raise ValueError(
            f"cannot tell what {path} holds by its ending; known: {', '.join(_READERS)}"
        )
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    try:
        return _READERS[ending](path)
    except (*_DAMAGE, polars.exceptions.PolarsError, polars.exceptions.PanicException) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} is not a readable {ending} file: {reason}") from error


# What the readers below raise for a file that is damaged, or that is something else.
_DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, KeyError, MemoryError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


def _read_delimited(path: Path, separator: str) -> pl.DataFrame:
    """Read lines of separated texts; what is a number is found out later, column by column."""
    frame = _polars().read_csv(path, separator=separator, has_header=False, infer_schema=False)
    header = [(name or "").strip() for name in frame.row(0)]
    repeated = sorted({name for name in _named(header) if header.count(name) > 1})
    if repeated:
        raise ValueError(f"more than one column is named {', '.join(map(repr, repeated))}")
    if "" in header:
        warn(f"{header.count('')} column(s) without a name left out of {path}")
    kept = {name: frame.to_series(i).slice(1) for i, name in enumerate(header) if name}
    rows = _polars().DataFrame(kept)
    # A blank line reads as a row in which everything is missing.
    filled = rows.filter(~_polars().all_horizontal(_polars().all().is_null()))
    if filled.height < rows.height:
        warn(f"{rows.height - filled.height} empty row(s) skipped in {path}")
    return filled  # type: ignore[no-any-return]


def _read_csv(path: Path) -> pl.DataFrame:
    return _read_delimited(path, ",")


def _read_tsv(path: Path) -> pl.DataFrame:
    return _read_delimited(path, "\t")


def _read_parquet(path: Path) -> pl.DataFrame:
    return _polars().read_parquet(path)  # type: ignore[no-any-return]


def _read_json_lines(path: Path) -> pl.DataFrame:
    return _polars().read_ndjson(path, infer_schema_length=None)  # type: ignore[no-any-return]


def _read_npz(path: Path) -> pl.DataFrame:
    """Read named arrays; an array of several columns becomes ``name_0``, ``name_1`` and so on."""
    loaded = np.load(path, allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        raise ValueError("it holds one array without a name")
    with loaded as arrays:
        columns: dict[str, NDArray[Any]] = {}
        for name in arrays:
            columns |= _array_columns(name, np.asarray(arrays[name]))
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"its arrays differ in length: {lengths}")
    return _polars().DataFrame(columns)  # type: ignore[no-any-return]


def _array_columns(name: str, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    if array.ndim == 0 or array.dtype.kind not in "biufU":
        raise ValueError(f"array {name!r} ({array.dtype}) is no column of numbers or texts")
    if array.ndim == 1:
        return {name: array}
    flat = array.reshape(len(array), -1)
    return {f"{name}_{i}": flat[:, i] for i in range(flat.shape[1])}


_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".tsv": _read_tsv,
    ".tsv.gz": _read_tsv,
    ".parquet": _read_parquet,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".npz": _read_npz,
}


def _column(series: pl.Series, kind: Kind | None) -> NDArray[Any]:
    """Return a column as float64 with NaN, or as texts with None, whichever ``kind`` it is."""
    polars = _polars()
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
    polars = _polars()
    if series.dtype.is_float() and (series.is_nan() | (series == series.round())).all():
        # A class or category 1.0 is the class 1 of a file that stores whole numbers.
        series = series.fill_nan(None).cast(polars.Int64, strict=False)
    texts = series.cast(polars.String).str.strip_chars()
    return texts.set(texts.is_in(MISSING_WORDS), None)


def _numbers_or_texts(series: pl.Series, kind: Kind | None) -> NDArray[Any]:
    """Read texts as numbers where all are; a few texts among numbers are a mistake in the file."""
    texts = _texts(series)
    numbers = texts.cast(_polars().Float64, strict=False)
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
    numbers = series.cast(_polars().Float64).fill_null(math.nan).to_numpy()
    infinite = np.isinf(numbers)
    if infinite.any():
        row = int(infinite.argmax())
        raise ValueError(f"column {series.name!r} is infinite in row {row + 1}")
    return numbers


def row_count(table: Table) -> int:
    """Return the number of rows."""
    return len(next(iter(table.values())))


def is_number(column: NDArray[Any]) -> bool:
    """Return whether a column holds numbers rather than texts."""
    return column.dtype.kind == "f"


def take_rows(table: Table, rows: NDArray[Any]) -> Table:
    """Return the table of the given rows (their numbers, or a mask)."""
    return {name: column[rows] for name, column in table.items()}


def missing(column: NDArray[Any]) -> NDArray[np.bool]:
    """Return where a column has no value."""
    absent: NDArray[np.bool]
    absent = np.isnan(column) if is_number(column) else column == None  # noqa: E711 (elementwise)
    return absent


def known_target(table: Table, target: str) -> Table:
    """Return the rows whose target is known, and say how many others there were.

    Raises:
        ValueError: there is no such row.
    """
    known = ~missing(table[target])
    if not known.any():
        raise ValueError(f"no row has a value for the target {target!r}")
    if not known.all():
        warn(f"{np.sum(~known)} row(s) without a value for the target {target!r} dropped")
    return take_rows(table, known)


def check_target(table: Table, target: str) -> None:
    """Make sure that there is something to learn about a target.

    Raises:
        ValueError: there are fewer than two rows, all have the same target, or texts hardly repeat.
    """
    column = table[target]
    values = set(column)
    if len(column) < 2:
        raise ValueError(f"training needs at least two rows with a target {target!r}")
    if len(values) < 2:
        raise ValueError(f"the target {target!r} has one value only, {values.pop()}")
    if not is_number(column) and len(values) > max(10, len(column) / 2):
        raise ValueError(
            f"the target {target!r} holds {len(values)} different texts in {len(column)} rows, "
            f"for instance {column[0]!r}; classes have to repeat"
        )


def choose_features(table: Table, target: str, asked: Iterable[str] | None = None) -> list[str]:
    """Return the columns to learn from: those asked for, or all that can tell something.

    Raises:
        UnknownNameError: a column asked for is not there.
        ValueError: a column asked for is the target or holds one value only, or none is left.
    """
    if asked is None:
        chosen = _useful_columns(table, target)
    else:
        chosen = [_checked_feature(table, target, name) for name in dict.fromkeys(asked)]
    if not chosen:
        raise ValueError(f"there is no column to predict {target!r} from")
    return chosen


def _useful_columns(table: Table, target: str) -> list[str]:
    """Return the columns that can tell something about the target, and say which cannot."""
    chosen, left_out = [], defaultdict(list)
    for name, column in table.items():
        if name == target:
            continue
        flaw = _flaw(column, MAX_CATEGORIES)
        if flaw is None:
            chosen.append(name)
        else:
            left_out[flaw].append(name)
    for flaw, names in left_out.items():
        warn(f"columns with {flaw} left out: {few(names, 10)}")
    return chosen


def _checked_feature(table: Table, target: str, name: str) -> str:
    if name not in table:
        raise unknown_name("column", name, table)
    if name == target:
        raise ValueError(f"column {name!r} is the target and cannot be a feature as well")
    flaw = _flaw(table[name])
    if flaw is not None:
        raise ValueError(f"column {name!r} cannot be a feature: it has {flaw}")
    return name


def _flaw(column: NDArray[Any], most_categories: float = math.inf) -> str | None:
    """Return why nothing can be learned from a column, or None."""
    absent = missing(column)
    values = set(column[~absent])
    if not values:
        return "no values"
    if len(values) == 1 and (is_number(column) or not absent.any()):
        return "one value only"
    if not is_number(column) and len(values) > most_categories:
        return f"more than {most_categories} different texts"
    return None


def few(texts: Sequence[str], most: int = 5) -> str:
    """Return texts for a message, which has no room for hundreds."""
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more} more" if more > 0 else "")


def split_rows(
    count: int, fraction: float, seed: int, classes: NDArray[Any] | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the numbers of the training rows and of the validation rows, in random order.

    With ``classes`` the split is stratified: each class has the same share in both parts, up to
    one row, and at least one row for training.

    Args:
        count: the number of rows.
        fraction: the share of the rows that validates, from 0 to below 1.
        seed: fixes the split.
        classes: the class of each row.
    """
    order = permutation(seed, count, "validation")
    classes = np.zeros(count) if classes is None else classes
    codes = np.unique(classes, return_inverse=True)[1]
    validates = stratified(codes, order, round(count * fraction))[order]
    return order[~validates], order[validates]
