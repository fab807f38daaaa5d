"""Frames of pandas, polars and others: taken as columns of polars, and answered in kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.errors import UnknownNameError, counted, few, given, nearest
from nnbackend.tables.columns import pick_columns
from nnbackend.tables.table import polars_module

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "as_polars",
    "check_column",
    "check_complete",
    "frame_like",
    "is_pandas",
    "polars_series",
    "select_columns",
    "series_like",
]


def as_polars(frame: Any, names: Iterable[str]) -> pl.DataFrame:
    """Return columns of a frame of pandas, polars or Arrow, or of a dictionary, as a frame of polars.

    Raises:
        TypeError: it is no frame.
        UnknownNameError: see :func:`select_columns`.
        ValueError: columns differ in length, or hold what no column of a table can.
    """
    polars = polars_module()
    if isinstance(frame, polars.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, polars.DataFrame):
        return select_columns(frame, names)
    no_table = TypeError(
        "a table is a DataFrame of pandas or polars, an Arrow table, or a dictionary of columns; "
        f"got {type(frame).__name__}"
    )
    if hasattr(frame, "__arrow_c_stream__") and not is_pandas(frame):
        try:
            taken = polars.DataFrame(frame)
        except (polars.exceptions.PolarsError, ValueError, TypeError) as error:
            raise no_table from error  # a Series, for instance
        return select_columns(taken, names)
    if not isinstance(frame, Mapping) and not is_pandas(frame):
        raise no_table
    keys, names = {str(key): key for key in frame}, list(names)
    check_complete(keys, names)
    columns = [_as_series(name, frame[keys[name]]) for name in names]
    try:
        return polars.DataFrame(columns)  # type: ignore[no-any-return]
    except polars.exceptions.PolarsError as error:
        raise ValueError(f"the columns make no table: {error}") from error


def select_columns(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Return some columns of a frame.

    Raises:
        UnknownNameError: the frame lacks columns; all of them are named.
    """
    names = list(names)
    check_complete(frame.columns, names)
    return pick_columns(frame, names)


def check_complete(there: Iterable[str], names: list[str]) -> None:
    """Refuse a table that lacks some of the columns."""
    there = dict.fromkeys(there)
    lacking = [name for name in names if name not in there]
    if not lacking:
        return
    others = [name for name in there if name not in names]
    hints = {name: nearest(name, others, 1) for name in lacking}
    found = [f"{n!r} (it has {hints[n][0]!r})" if hints[n] else repr(n) for n in lacking]
    raise UnknownNameError(f"the table lacks {counted(len(lacking), 'column')}: {few(found, 10)}")


def is_pandas(frame: Any) -> bool:
    """Return whether it is a DataFrame of pandas, without importing that."""
    return any(
        (kind.__module__.partition(".")[0], kind.__name__) == ("pandas", "DataFrame")
        for kind in type(frame).__mro__
    )


def check_column(name: str, column: Any) -> None:
    """Refuse what is no column of values: one value, values by row as ``DataFrame.to_dict()`` has them.

    Raises:
        ValueError: it is none.
    """
    if isinstance(column, Mapping):
        raise ValueError(
            f"column {name!r} is a dictionary, and is to be a list of values; of a DataFrame of pandas "
            'give the frame, or its .to_dict("list")'
        )
    plain = getattr(column, "ndim", 1) and hasattr(column, "__len__")
    if not plain or isinstance(column, str | bytes | Set):
        raise ValueError(
            f"column {name!r} is no column of values: {given(column)}; each is a list with a value for "
            "each row, also of one row"
        )


def _as_series(name: str, column: Any) -> pl.Series:
    """Return a column of pandas or of a dictionary; what counts as missing there is missing."""
    polars, dtype = polars_module(), getattr(column, "dtype", None)
    check_column(name, column)
    if getattr(column, "ndim", 1) != 1:
        raise ValueError(f"column {name!r} is no row of values, or more than one has that name")
    if isinstance(column, np.ma.MaskedArray):
        values = zip(np.ma.getdata(column).tolist(), np.ma.getmaskarray(column), strict=True)
        column, dtype = [None if gone else value for value, gone in values], None
    if isinstance(column, polars.Series):
        return column.alias(name)  # type: ignore[no-any-return]
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        numbers = np.asarray(column)
        wide = numbers.dtype.kind != "f" or numbers.dtype.itemsize in (4, 8)
        return polars.Series(name, numbers if wide else numbers.astype(np.float64))  # type: ignore[no-any-return]
    if isinstance(column, np.ndarray) and column.dtype.kind in "mM":
        days = column.dtype.kind == "M" and np.datetime_data(column.dtype)[0] in (
            "Y",
            "M",
            "W",
            "D",
        )
        column = column.astype(f"{column.dtype.kind}8[{'D' if days else 'us'}]")
        return polars.Series(name, column)  # type: ignore[no-any-return]
    found = list(column)
    if hasattr(column, "isna"):
        absent = column.isna().tolist()
        found = [None if gone else v for v, gone in zip(found, absent, strict=True)]
    try:
        series = polars.Series(name, found, strict=False)
    except OverflowError:  # of older versions of polars; later ones leave a gap
        raise ValueError(f"column {name!r} holds numbers that are too large") from None
    lost = series.null_count() > sum(value is None for value in found)
    for row, value in enumerate(found if lost else (), 1):
        if value is not None and series[row - 1] is None:
            raise ValueError(
                f"column {name!r} holds {given(value)} in row {row}, which is no number"
            )
    return series  # type: ignore[no-any-return]


def polars_series(name: str, values: NDArray[Any]) -> pl.Series:
    """Return predicted values as a Series of polars, of their type also where there are none."""
    polars = polars_module()
    kind = polars.String if values.dtype == object else polars.Float64
    return polars.Series(name, values.tolist(), dtype=kind)  # type: ignore[no-any-return]


def series_like(frame: Any, name: str, values: NDArray[Any]) -> Any:
    """Return values as a Series of the frame's library, with its index; else as they are."""
    if is_pandas(frame):
        import pandas

        return pandas.Series(values, frame.index, name=name)
    polars = polars_module()
    if isinstance(frame, polars.DataFrame | polars.LazyFrame):
        return polars_series(name, values)
    return values


def frame_like(frame: Any, columns: dict[str, NDArray[Any]]) -> Any:
    """Return columns as a frame of the same library, with the same index; else as they are."""
    if is_pandas(frame):
        import pandas

        return pandas.DataFrame(columns, frame.index)
    polars = polars_module()
    if isinstance(frame, polars.DataFrame | polars.LazyFrame):
        return polars.DataFrame(columns)
    return columns
