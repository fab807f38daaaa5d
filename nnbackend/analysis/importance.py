"""Permutation importance: how much worse a model's score gets when a column is shuffled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nnbackend.analysis.answers import (
    check_column,
    columns_of,
    encode_rows,
    outputs_of,
    read_rows,
    sample_rows,
)
from nnbackend.analysis.inputs import copy_inputs, owners_of, put_column
from nnbackend.analysis.scores import LARGER_IS_BETTER, choose_score, score_outputs
from nnbackend.core.checks import check_size
from nnbackend.core.random import permutation
from nnbackend.tables.model import TableModel
from nnbackend.tables.table import row_count

__all__ = ["ColumnImportance", "Importance", "permutation_importance"]


@dataclass(frozen=True)
class ColumnImportance:
    """How important a column is.

    Attributes:
        column: its name.
        mean: how much worse the score gets when the column is shuffled, on average over the repeats;
            near 0, of either sign, for a column that the model makes no use of.
        std: the standard deviation over the repeats.
        values: each repeat.
    """

    column: str
    mean: float
    std: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Importance:
    """The importance of the columns of a model.

    Attributes:
        score: the name of the score: ``log_loss``, ``accuracy``, ``rmse`` or ``r2``.
        base: its value with every column as it is.
        rows: how many rows it was measured on.
        columns: the columns, the most important first.
    """

    score: str
    base: float
    rows: int
    columns: tuple[ColumnImportance, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return asdict(self)


def permutation_importance(
    model: TableModel,
    frame: Any,
    *,
    columns: Iterable[str] | None = None,
    score: str | None = None,
    repeats: int = 5,
    max_rows: int = 10_000,
    seed: int = 0,
) -> Importance:
    """Measure how much worse the score gets when a column's values are shuffled among the rows.

    ``importance = score(shuffled) - score`` for log loss and RMSE, which are better if smaller, and the
    other way round for accuracy and R2. What the model has learned is asked, not what could be learned:
    of two columns that say the same, the model may use either, and shuffling one leaves the other, so
    that both can look unimportant. Rows that it was not trained on say what helps with new rows.

    Args:
        model: the model.
        frame: a frame with the columns and the target, or rows of :func:`read_rows`.
        columns: the columns to measure; None: all.
        score: ``log_loss`` or ``accuracy`` for classes, ``rmse`` (in the units of the target) or ``r2``
            for numbers; None: the first of them, or accuracy if the model gives no probabilities.
        repeats: how often each column is shuffled; at least 2, for the spread; default 5.
        max_rows: of more rows, so many are drawn at random; default 10,000.
        seed: of the random numbers.

    Raises:
        UnknownNameError: the model does not predict from such a column, or has no such score.
        ValueError: fewer than two rows or repeats; see also :func:`read_rows`.

    Source: Breiman: Random forests, Machine Learning 45 (2001); for any model: Fisher, Rudin, Dominici,
    JMLR 20 (2019).
    """
    if check_size("repeats", repeats) < 2:
        raise ValueError("repeats must be 2 or more: one shuffle has no spread")
    score = choose_score(model, score)
    names = columns_of(model) if columns is None else list(dict.fromkeys(columns))
    for name in names:
        check_column(model, name)
    table = read_rows(model, frame, with_target=True).table
    table = sample_rows(table, check_size("max_rows", max_rows), seed, "importance")
    rows = row_count(table)
    if rows < 2:
        raise ValueError("shuffling a column needs at least two rows")
    y = model.encoder.encode_target(table)
    inputs, known = encode_rows(model, table), columns_of(model)
    owners, changed = owners_of(model, known), copy_inputs(inputs)
    base = score_outputs(model, outputs_of(model, inputs), y, score)
    sign = -1.0 if LARGER_IS_BETTER[score] else 1.0
    found = []
    for name in names:
        values, place = [], known.index(name)
        for repeat in range(repeats):
            order = permutation(seed, rows, "importance", name, repeat)
            put_column(changed, inputs, order, owners, place)
            outputs = outputs_of(model, changed)
            values.append(sign * (score_outputs(model, outputs, y, score) - base))
        put_column(changed, inputs, slice(None), owners, place)
        mean, std = float(np.mean(values)), float(np.std(values, ddof=1))
        found.append(ColumnImportance(name, mean, std, tuple(values)))
    found.sort(key=lambda column: -column.mean)
    return Importance(score, base, rows, tuple(found))
