"""The contribution of each column to one prediction: Shapley values, sampled, with their error."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnbackend.analysis.answers import (
    answer_names,
    answers_of,
    columns_of,
    encode_rows,
    read_rows,
    sample_rows,
)
from nnbackend.analysis.inputs import mix_inputs, owners_of
from nnbackend.core.checks import check_size
from nnbackend.core.random import permutation
from nnbackend.errors import unknown_name
from nnbackend.tables.features import Encoded
from nnbackend.tables.model import TableModel
from nnbackend.tables.table import missing, row_count

__all__ = ["Contribution", "RowContributions", "row_contributions"]

_ROWS_AT_A_TIME = 1 << 14


@dataclass(frozen=True)
class Contribution:
    """What a column contributes to a prediction.

    Attributes:
        column: its name.
        value: its value in the row; None where it is missing.
        contribution: how much of the prediction minus the mean is due to it.
        standard_error: of the contribution, from the sampling of orders.
    """

    column: str
    value: float | str | None
    contribution: float
    standard_error: float


@dataclass(frozen=True)
class RowContributions:
    """How a prediction came about: ``prediction = base + sum of contributions``, but for rounding.

    Attributes:
        answer: what is explained: the class whose probability it is, or the target.
        prediction: the model's answer for the row.
        base: the mean of its answers for the background rows.
        columns: the columns, the largest contribution of either sign first.
        background_rows: how many rows the row was compared with.
        residual: prediction - base - sum of contributions: rounding alone.
    """

    answer: str
    prediction: float
    base: float
    columns: tuple[Contribution, ...]
    background_rows: int
    residual: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return asdict(self)


def row_contributions(
    model: TableModel,
    row: Any,
    background: Any,
    *,
    answer: str | None = None,
    pairs: int = 4,
    max_background: int = 100,
    seed: int = 0,
) -> RowContributions:
    """Return the contribution of each column to the prediction for one row.

    They are Shapley values of the game whose value for a set of columns is the mean answer of the
    background rows with these columns taken from the row (the interventional kind). The columns of a
    background row change, one after the other in a random order, to those of the row; what the answer
    changes with a column, on average over orders and background rows, is its contribution. Orders come
    in antithetic pairs, each with its reverse. Whatever the orders, contributions add up to the
    prediction minus the mean answer of the background. For a sum of functions of single columns they
    are exact; otherwise the standard error says how far off they may be for this background.

    Args:
        model: the model.
        row: a frame of one row, or rows of :func:`read_rows`.
        background: the rows to compare with, best those of training.
        answer: the class whose probability is explained; None: the one predicted. For numbers it is
            the prediction, in the units of the target.
        pairs: pairs of orders for each background row, at least 2; the error falls with its root.
        max_background: of more background rows, so many are drawn at random; default 100.
        seed: of the random numbers.

    Raises:
        UnknownNameError: there is no such class.
        ValueError: not one row, no background, or a model of classes without probabilities.

    Source: Castro, Gómez, Tejada, Computers & Operations Research 36 (2009); antithetic orders: Mitchell
    et al., JMLR 23 (2022).
    """
    if check_size("pairs", pairs) < 2:
        raise ValueError("pairs must be 2 or more: a single one has no measurable error")
    one, others = read_rows(model, row).table, read_rows(model, background).table
    if row_count(one) != 1:
        raise ValueError(f"one row is explained at a time, got {row_count(one)}")
    if not row_count(others):
        raise ValueError("there is no background row to compare the row with")
    others = sample_rows(others, check_size("max_background", max_background), seed, "background")
    names, columns = answer_names(model), columns_of(model)
    row_inputs, inputs = encode_rows(model, one), encode_rows(model, others)
    prediction = answers_of(model, row_inputs)[0]
    if answer is None:
        answer = names[int(prediction.argmax())]
    elif answer not in names:
        raise unknown_name("answer", answer, names)
    place = names.index(answer)
    orders = _draw_orders(row_count(others), pairs, len(columns), seed)
    base = answers_of(model, inputs)[:, place]
    steps = _walk(model, row_inputs, inputs, orders, place)
    steps[..., 0], steps[..., -1] = base[:, None], prediction[place]
    mean, error = _average(np.diff(steps, axis=-1), orders)
    found = [
        Contribution(name, _plain(one[name]), float(mean[i]), float(error[i]))
        for i, name in enumerate(columns)
    ]
    found.sort(key=lambda column: -abs(column.contribution))
    whole, start = float(prediction[place]), float(base.mean())
    return RowContributions(
        answer, whole, start, tuple(found), row_count(others), whole - start - float(mean.sum())
    )


def _draw_orders(rows: int, pairs: int, count: int, seed: int) -> NDArray[np.int64]:
    """Return orders of the columns, each followed by its reverse, shape (rows, 2 pairs, columns)."""
    orders = np.empty((rows, pairs, 2, count), np.int64)
    for row in range(rows):
        for pair in range(pairs):
            order = permutation(seed, count, "orders", row, pair)
            orders[row, pair] = order, order[::-1]
    return orders.reshape(rows, 2 * pairs, count)


def _walk(
    model: TableModel,
    one: Encoded,
    others: Encoded,
    orders: NDArray[np.int64],
    place: int,
) -> NDArray[np.float64]:
    """Return an answer after each step from a background row to the row, but the first and last.

    The shape is (rows, orders, columns + 1); a step takes one more column, in order, from the row.
    """
    rows, count, width = orders.shape
    found = np.full((rows, count, width + 1), np.nan)
    if width == 1:
        return found
    ranks = np.argsort(orders, axis=-1)
    taken, owners = np.arange(1, width), owners_of(model, columns_of(model))
    part = max(1, _ROWS_AT_A_TIME // (count * (width - 1)))
    for start in range(0, rows, part):
        mask = ranks[start : start + part, :, None, :] < taken[:, None]
        old = replace(
            others,
            numbers=others.numbers[start : start + part],
            indices=others.indices[start : start + part],
        )
        answers = answers_of(model, mix_inputs(mask, one, old, owners))[:, place]
        found[start : start + part, :, 1:-1] = answers.reshape(mask.shape[:-1])
    return found


def _average(
    changes: NDArray[np.float64], orders: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean change of each column, and its standard error, from the pairs of each row."""
    rows, count, width = changes.shape
    by_column = np.take_along_axis(changes, np.argsort(orders, axis=-1), axis=-1)
    by_pair = by_column.reshape(rows, count // 2, 2, width).mean(axis=2)
    spread = by_pair.var(axis=1, ddof=1) / (count // 2)
    return by_pair.mean(axis=(0, 1)), np.sqrt(spread.sum(axis=0)) / rows


def _plain(column: NDArray[Any]) -> float | str | None:
    """Return the only value of a column."""
    value: float | str | None = None if missing(column)[0] else column.tolist()[0]
    return value
