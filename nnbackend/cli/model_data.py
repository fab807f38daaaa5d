"""The data that ``nnbackend predict`` and ``evaluate`` read for a model of a table or of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nnbackend.analysis.answers import TableRows
from nnbackend.cli.arguments import WrongCall, wrong_call
from nnbackend.cli.dialect import DialectOptions
from nnbackend.cli.options import build_from_options
from nnbackend.tables.arrays import array_file, check_length, load_array, read_headers, target_table
from nnbackend.tables.columns import table_of
from nnbackend.tables.dialect import Dialect
from nnbackend.tables.frames import select_columns
from nnbackend.tables.model import ArrayModel, Model, TableModel
from nnbackend.tables.reading import dialect_of, naming_lines, read_frame
from nnbackend.tables.selection import known_target
from nnbackend.tables.table import missing, polars_module

if TYPE_CHECKING:
    import polars as pl

__all__ = ["as_told", "read_features", "read_features_and_targets", "read_table_rows"]


def as_told(model: Model, options: Mapping[str, Any]) -> Model:
    """Return a model that reads dates as options say, if they do."""
    day_first = options["day_first"]
    if day_first is None or not isinstance(model, TableModel):
        return model
    return model.with_dates(day_first=day_first)


def read_features(
    model: Model, data: Path, options: Mapping[str, Any], *, columns: bool
) -> tuple[NDArray[Any], pl.DataFrame]:
    """Return the network's input for each row of the data, and the columns that a row has beside it.

    Those of arrays are read only if ``columns`` are asked for.
    """
    if isinstance(model, ArrayModel):
        path = _array_file(data, options)
        rows = load_array(path, model.encoder.name)
        return model.encode(rows), _columns(
            path, len(rows)
        ) if columns else polars_module().DataFrame()
    assert isinstance(model, TableModel)
    dialect = _dialect(model, options)
    frame = read_frame(data, dialect)
    dialect = dialect_of(data, dialect)
    with naming_lines(data, dialect):
        return model.encode(frame, dialect), frame


def read_features_and_targets(
    model: Model, data: Path, options: Mapping[str, Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the network's input and the encoded targets of the rows that have one."""
    encoder = model.encoder
    name = encoder.target.name
    if isinstance(model, ArrayModel):
        path = _array_file(data, options)
        rows, targets = load_array(path, model.encoder.name), load_array(path, name)
        check_length(model.encoder.name, rows, name, targets)
        table = target_table(name, targets, encoder.target_kinds[name])
        known = ~missing(table[name])
        rows = rows if known.all() else rows[known]
        return model.encode(rows), encoder.encode_target(known_target(table, name))
    assert isinstance(model, TableModel)
    table = read_table_rows(model, data, options, with_target=True).table
    return model.encoder.encode_features(table), encoder.encode_target(table)


def read_table_rows(
    model: TableModel, data: Path, options: Mapping[str, Any], *, with_target: bool
) -> TableRows:
    """Return the rows of a table before they are encoded; of those with a target, if that is needed."""
    encoder, dialect = model.encoder, _dialect(model, options)
    kinds = encoder.kinds if with_target else encoder.feature_kinds
    frame = select_columns(read_frame(data, dialect), kinds)
    dialect = dialect_of(data, dialect)
    with naming_lines(data, dialect):
        table = table_of(frame, kinds, kinds, dialect)
    return TableRows(known_target(table, encoder.target.name) if with_target else table)


def _dialect(model: TableModel, options: Mapping[str, Any]) -> Dialect:
    with wrong_call():
        return build_from_options(DialectOptions, options).dialect(like=model.dialect)


def _array_file(data: Path, options: Mapping[str, Any]) -> Path:
    """Return the file of arrays, after a check that no option is for tables."""
    given = [name for name in vars(DialectOptions()) if options[name] not in (None, [], False)]
    if given or options["day_first"] is not None:
        option = given[0].replace("_", "-") if given else "month-first"
        raise WrongCall(f"--{option} is for tables, and the model takes images or signals")
    return array_file(data)


def _columns(path: Path, rows: int) -> pl.DataFrame:
    """Return the arrays of numbers or texts that have one value for each row."""
    columns = {
        name: load_array(path, name)
        for name, header in read_headers(path).items()
        if header.shape == (rows,) and header.dtype.kind in "biufU"
    }
    return polars_module().DataFrame(columns)  # type: ignore[no-any-return]
