"""What a model answers for rows of a table, as numbers that can be averaged and compared.

For classes that is the probability of each, for numbers the prediction in the units of the target.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.core.random import permutation
from nnbackend.errors import unknown_name
from nnbackend.tables.columns import table_of
from nnbackend.tables.features import Encoded
from nnbackend.tables.frames import as_polars
from nnbackend.tables.model import TableModel
from nnbackend.tables.selection import known_target
from nnbackend.tables.table import Table, TableWarning, row_count, take_rows

__all__ = [
    "TableRows",
    "answer_names",
    "answers_of",
    "check_column",
    "columns_of",
    "encode_rows",
    "outputs_of",
    "read_rows",
    "sample_rows",
]

_ROWS_AT_A_TIME = 1 << 14


@dataclass(frozen=True)
class TableRows:
    """Rows of a table as a model reads them, before they are encoded.

    Attributes:
        table: float64 with NaN, or texts with None, by the names of columns.
    """

    table: Table


def read_rows(model: TableModel, frame: Any, *, with_target: bool = False) -> TableRows:
    """Return the rows of a frame as a model reads them.

    Args:
        model: the model.
        frame: a frame, as for :meth:`nnbackend.tables.TableModel.predict`, or rows that were read.
        with_target: whether the target is needed, too; rows without one are dropped, and that is said.

    Raises:
        TypeError: it is no table.
        UnknownNameError: it lacks columns; all of them are named.
        ValueError: a column of numbers holds texts, or no row has a target.
    """
    kinds = model.encoder.kinds if with_target else model.encoder.feature_kinds
    if isinstance(frame, TableRows):
        rows = frame
        for name in kinds:
            if name not in rows.table:
                raise unknown_name("column", name, rows.table)
    else:
        rows = TableRows(table_of(as_polars(frame, kinds), kinds, kinds, model.dialect))
    if with_target:
        rows = TableRows(known_target(rows.table, model.encoder.target.name))
    return rows


def columns_of(model: TableModel) -> list[str]:
    """Return the names of the columns that the model predicts from, each once."""
    return list(model.encoder.feature_kinds)


def check_column(model: TableModel, column: str) -> None:
    """Refuse the name of a column that the model does not predict from."""
    names = columns_of(model)
    if column not in names:
        raise unknown_name("column of the model", column, names)


def answer_names(model: TableModel) -> tuple[str, ...]:
    """Return the name of each answer: the classes, or the target."""
    return model.classes or (model.encoder.target.name,)


def encode_rows(model: TableModel, table: Table) -> Encoded:
    """Return the inputs of rows, without notes of gaps and unseen categories."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)
        return model.encoder.encode(table)


def outputs_of(model: TableModel, inputs: Encoded) -> NDArray[Any]:
    """Return the outputs of the network for inputs, so many rows at a time."""
    parts = []
    for start in range(0, max(len(inputs.numbers), 1), _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        part = replace(inputs, numbers=inputs.numbers[rows], indices=inputs.indices[rows])
        parts.append(model.outputs(part.inputs))
    return np.concatenate(parts)


def answers_of(model: TableModel, inputs: Encoded) -> NDArray[np.float64]:
    """Return the answers for inputs, shape (rows, answers).

    Raises:
        ValueError: a model of classes gives no probabilities (a hinge loss).
    """
    if model.classes:
        model.check_probabilities()
        return model.probabilities(outputs_of(model, inputs))
    numbers: NDArray[np.float64] = model.answers(outputs_of(model, inputs))[:, None]
    return numbers


def sample_rows(table: Table, most: int, seed: int, *stream: str) -> Table:
    """Return at most so many rows, chosen at random by seed, in their order."""
    rows = row_count(table)
    if rows <= most:
        return table
    return take_rows(table, np.sort(permutation(seed, rows, *stream)[:most]))
