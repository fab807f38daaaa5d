"""Tables in memory: frames, dictionaries of columns and arrays, read as a table for an encoder.

NumPy arrays, and frames without texts that look like numbers, are read without polars.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nnbackend.errors import counted, few, unknown_name
from nnbackend.tables.columns import readable_columns, table_of
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.frames import as_polars, check_column, check_complete, is_pandas
from nnbackend.tables.kinds import GIVEN_KINDS, ColumnKind
from nnbackend.tables.table import Table, WantedKind, is_number, missing, polars_module, warn
from nnbackend.tables.units import check_units, find_numerals
from nnbackend.tables.values import NumberLike, UnreadableError, numbers_or_texts

__all__ = ["Columns", "read_columns"]


@dataclass(frozen=True)
class Columns:
    """The columns of a frame as numbers and texts.

    Attributes:
        table: the columns by name: float64 with NaN, or texts with None.
        kinds: what columns were said to hold, or their types say: ``category`` for those of categories.
        dialect: how texts stand for numbers; to be given when other rows are read for the same model.
    """

    table: Table
    kinds: dict[str, ColumnKind] = field(default_factory=dict)
    dialect: Dialect = field(default_factory=Dialect)


def read_columns(
    frame: Any,
    kinds: Mapping[str, ColumnKind] | None = None,
    *,
    wanted: Mapping[str, WantedKind] | None = None,
    dialect: Dialect | None = None,
) -> Columns:
    """Return the columns of a table in memory.

    Numbers and booleans are float64, durations float64 seconds, dates and times ISO 8601 texts (those
    with a zone in UTC), categories texts. Texts are numbers where all are, with thousands, decimal
    commas, currencies and percents as in files. ``None``, NaN, ``NaT`` and ``NA`` are missing, and so
    are texts such as ``NA``.

    Args:
        frame: a DataFrame of pandas or polars, an Arrow table, a dictionary of columns, or an array of
            two dimensions, whose columns are named ``x0``, ``x1`` ...
        kinds: what columns hold, where they are not to be read as they look: see
            :func:`nnbackend.tables.choose_kinds`. One of the kind ``drop`` is not read.
        wanted: the columns to read, and what each is read as: ``encoder.kinds`` of a trained encoder;
            None: all, as ``kinds`` and their types say, and of others what they hold is found out.
        dialect: of the table that the encoder was trained on; None: it is found out.

    Raises:
        TypeError: it is no table.
        UnknownNameError: the table lacks columns of ``wanted``; all of them are named. It has no column
            that ``kinds`` names, or there is no such kind.
        ValueError: two columns have one name, columns differ in length, a number is infinite, a few
            texts are among numbers, or a column holds what is neither number, text nor date.
        ModuleNotFoundError: texts look like numbers, and polars is not installed.
    """
    if _is_of(frame, "polars") or _is_arrow(frame):
        if not _is_of(frame, "pyarrow") or _has_polars():
            return _read_polars(frame, kinds or {}, wanted, dialect)
        frame = frame.to_pydict()
    columns = _columns_of(frame)
    found, reads = _how_to_read(columns, kinds or {}, wanted)
    columns = {name: columns[name] for name in reads}
    _check_lengths(columns)
    table: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name, column in columns.items():
        want = reads[name]
        try:
            plain, is_category = _plain_column(column)
            if is_category and want is None:
                found[name], want = "category", "text"
            table[name] = numbers_or_texts(name, plain, want, dialect)
        except UnreadableError as error:
            if want is not None:
                raise
            left_out[name] = str(error)
    if left_out:
        reason = next(iter(left_out.values()))
        warn(f"columns of neither numbers nor texts left out: {few([*left_out], 10)} ({reason})")
    dialect = _parse_texts(table, reads, dialect)
    return Columns(table, found, dialect)


def _how_to_read(
    there: Iterable[str], kinds: Mapping[str, ColumnKind], wanted: Mapping[str, WantedKind] | None
) -> tuple[dict[str, ColumnKind], dict[str, WantedKind | None]]:
    """Return the kinds that columns were given, and what each column that is read is read as."""
    there = dict.fromkeys(there)
    if wanted is not None:
        check_complete(there, list(wanted))
        return {}, dict(wanted)
    for name, kind in kinds.items():
        if name not in there:
            raise unknown_name("column", name, there)
        if kind not in GIVEN_KINDS:
            raise unknown_name(f"kind of column {name!r}", kind, GIVEN_KINDS)
    reads: dict[str, WantedKind | None] = {
        name: _READ_AS.get(kinds[name], "text") if name in kinds else None
        for name in there
        if kinds.get(name) != "drop"
    }
    return {name: kind for name, kind in kinds.items() if kind != "drop"}, reads


_READ_AS: dict[str, WantedKind] = {"number": "number", "boolean": "number"}


def _is_of(frame: Any, library: str) -> bool:
    """Return whether an object is of a library, without importing that."""
    return any(kind.__module__.partition(".")[0] == library for kind in type(frame).__mro__)


def _is_arrow(frame: Any) -> bool:
    return hasattr(frame, "__arrow_c_stream__") and not is_pandas(frame)


def _has_polars() -> bool:
    try:
        polars_module()
    except ModuleNotFoundError:
        return False
    return True


def _read_polars(
    frame: Any,
    kinds: Mapping[str, ColumnKind],
    wanted: Mapping[str, WantedKind] | None,
    dialect: Dialect | None,
) -> Columns:
    """Return the columns of a frame of polars or Arrow."""
    polars = polars_module()
    if isinstance(frame, polars.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, polars.DataFrame):
        frame = as_polars(frame, _arrow_names(frame))
    _check_names(frame.columns)
    given_kinds, reads = _how_to_read(frame.columns, kinds, wanted)
    frame = as_polars(frame, reads)
    names = readable_columns(frame, [name for name, want in reads.items() if want is not None])
    for name in names:
        if reads[name] is None and frame.schema[name] in (polars.Categorical, polars.Enum):
            given_kinds[name], reads[name] = "category", "text"
    texts = [n for n in names if frame.schema[n] == polars.String]
    found = find_numerals(as_polars(frame, texts), dialect or Dialect())
    return Columns(table_of(frame, names, reads, found), given_kinds, found)


def _arrow_names(frame: Any) -> list[str]:
    """Return the names of the columns of an Arrow table, of which no two are equal."""
    names = [str(name) for name in getattr(frame, "column_names", [])]
    if not names:
        raise TypeError(f"a table has named columns; got {type(frame).__name__}")
    _check_names(names)
    return names


def _columns_of(frame: Any) -> dict[str, Any]:
    """Return the columns of a frame of pandas, a dictionary or an array by name."""
    if is_pandas(frame):
        names = [str(name) for name in frame.columns]
        _check_names(names)
        return {name: frame.iloc[:, place] for place, name in enumerate(names)}
    if isinstance(frame, Mapping):
        names = [str(name) for name in frame]
        _check_names(names)
        return dict(zip(names, frame.values(), strict=True))
    if hasattr(frame, "toarray"):
        raise TypeError("a sparse matrix is no table; give its .toarray()")
    rows = isinstance(frame, list | tuple) and frame and isinstance(frame[0], list | tuple)
    if not (rows or hasattr(frame, "__array__")):
        raise TypeError(
            "a table is a DataFrame of pandas or polars, an Arrow table, a dictionary of columns, or an "
            f"array of two dimensions; got {type(frame).__name__}"
        )
    try:
        array = np.asanyarray(frame, dtype=_row_type(frame) if rows else None)
    except ValueError:
        raise ValueError("the rows of the table differ in length") from None
    if array.ndim != 2:
        raise ValueError(
            f"a table has two dimensions, rows and columns; got an array of shape {array.shape}"
        )
    return {f"x{place}": array[:, place] for place in range(array.shape[1])}


def _row_type(rows: Any) -> Any:
    """Return object for rows that hold more than numbers, which NumPy would turn into texts."""
    plain = all(isinstance(value, bool | int | float) for row in rows for value in row)
    return None if plain else object


def _check_names(names: Iterable[str]) -> None:
    """Refuse columns without a name, and two of one name."""
    counts = Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise ValueError(
            f"more than one column is named {few([repr(n) for n in twice])}; rename them"
        )
    for name in counts:
        if not name or name != name.encode(errors="ignore").decode():
            raise ValueError(f"{name!r} is no name of a column; rename it")


def _check_lengths(columns: Mapping[str, Any]) -> None:
    """Refuse columns of different lengths, and what is no column at all."""
    if not columns:
        raise ValueError("the table has no columns, or all of them are left out")
    lengths = {}
    for name, column in columns.items():
        check_column(name, column)
        lengths[name] = len(column)
    first = next(iter(lengths))
    for name, length in lengths.items():
        if length != lengths[first]:
            raise ValueError(
                f"the columns differ in length: {first!r} has {counted(lengths[first], 'row')}, "
                f"{name!r} {length}"
            )


def _plain_column(column: Any) -> tuple[Any, bool]:
    """Return a column as an array or a list with None, and whether its type is one of categories."""
    if _is_of(column, "polars"):
        polars = polars_module()
        return column.to_list(), column.dtype in (polars.Categorical, polars.Enum)
    dtype: Any = getattr(column, "dtype", None)
    if not _is_of(column, "pandas"):
        return column if isinstance(dtype, np.dtype) else list(column), False
    if isinstance(dtype, np.dtype):
        return column.to_numpy(), False
    if getattr(dtype, "tz", None) is not None:
        series = column.to_series() if hasattr(column, "to_series") else column
        return series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), False
    absent = np.asarray(column.isna())
    is_category = hasattr(dtype, "categories")
    kind = "O" if is_category else getattr(dtype, "kind", "O")
    if kind in "biuf" and not absent.any():
        return np.asarray(column, dtype=getattr(dtype, "numpy_dtype", None)), False
    if kind == "f":
        return np.asarray(column.astype(object).where(~absent, np.nan), dtype=np.float64), False
    values = [None if gone else v for v, gone in zip(column, absent, strict=True)]
    return values, is_category


def _parse_texts(
    table: dict[str, Any], wanted: Mapping[str, WantedKind | None], dialect: Dialect | None
) -> Dialect:
    """Read texts that look like numbers as such, in place, and return the dialect that was found."""
    pending = {name: column for name, column in table.items() if isinstance(column, NumberLike)}
    plain = dialect is None or (dialect.decimal in (None, ".") and dialect.thousands is None)
    plain = plain and (dialect is None or dialect.usual_decimal in (None, "."))
    if plain and all(column.is_plain for column in pending.values()):
        for name, column in pending.items():
            table[name] = column.read_plain(name, wanted.get(name))
        dialect = dialect or Dialect()
        _check_plain(table, wanted, dialect)
        return replace(dialect, units=dialect.units or {})
    try:
        polars = polars_module()
    except ModuleNotFoundError as error:
        marked = [name for name, column in pending.items() if not column.is_plain]
        message = (
            f"reading numbers from texts such as those of {few(marked or [*pending], 3)} needs polars: "
            "pip install 'nnbackend[cli]', or give numbers"
        )
        raise ModuleNotFoundError(message, name="polars") from error
    frame = polars.DataFrame(
        [polars.Series(n, c.texts, dtype=polars.String) for n, c in pending.items()]
    )
    found = find_numerals(frame, dialect or Dialect())
    _check_plain({n: c for n, c in table.items() if n not in pending}, wanted, found)
    table.update(table_of(frame, pending, {n: wanted.get(n) for n in pending}, found))
    return found


def _check_plain(
    table: Mapping[str, Any], wanted: Mapping[str, WantedKind | None], dialect: Dialect
) -> None:
    """Refuse plain numbers in a column of which training had percents or suffixes."""
    for name, column in table.items():
        if wanted.get(name) == "number" and is_number(column) and not missing(column).all():
            check_units(name, None, dialect)
